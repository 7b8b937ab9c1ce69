package server

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the parity page anew")

// TestParityPage holds the page's list of endpoints to the route table.
func TestParityPage(t *testing.T) {
	var built, missing, swarm []string
	for _, r := range routes() {
		line := fmt.Sprintf("`%s %s`", r.method, r.path)
		switch name := runtime.FuncForPC(reflect.ValueOf(r.handle).Pointer()).Name(); {
		case strings.Contains(name, ".absent."):
			missing = append(missing, line)
		case strings.HasSuffix(name, "server.noSwarm"):
			swarm = append(swarm, line)
		default:
			built = append(built, line)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Built (%d): %s.\n\n", len(built), strings.Join(built, ", "))
	fmt.Fprintf(&b, "Not built yet, answered by 501 and a message that names the feature (%d): %s.\n\n", len(missing), strings.Join(missing, ", "))
	fmt.Fprintf(&b, "Swarm, answered as an engine outside a swarm does (%d): %s.\n", len(swarm), strings.Join(swarm, ", "))
	page(t, "endpoints", b.Bytes())
}

// page compares the part of PARITY.md between <!-- name --> and <!-- end --> with want.
func page(t *testing.T, name string, want []byte) {
	t.Helper()
	const path = "../PARITY.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin := "<!-- " + name + " -->\n"
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatalf("%s has no part %q", path, name)
	}
	if got == string(want) {
		return
	}
	if !*update {
		t.Fatalf("the part %q of %s is not what is built: go test ./server -update writes it anew", name, path)
	}
	if err := os.WriteFile(path, []byte(head+begin+string(want)+"<!-- end -->"+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
