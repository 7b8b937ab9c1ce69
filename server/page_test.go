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
	var built, missing, swarm, plugins grouped
	for _, r := range routes() {
		switch name := runtime.FuncForPC(reflect.ValueOf(r.handle).Pointer()).Name(); {
		case strings.Contains(name, ".absent."): // a closure, maybe inlined
			missing.add(r)
		case strings.HasSuffix(name, "server.noSwarm"), strings.HasSuffix(name, "server.swarmLeave"):
			swarm.add(r)
		case strings.HasSuffix(name, "server.noSuchPlugin"):
			plugins.add(r)
		default:
			built.add(r)
		}
	}
	var b bytes.Buffer
	built.print(&b, "Built")
	missing.print(&b, "Not built yet, answered by 501 and a message that names the feature")
	swarm.print(&b, "Swarm, answered as an engine outside a swarm does")
	plugins.print(&b, "Plugins, answered that there is none of this name")
	page(t, "endpoints", b.Bytes())
}

// grouped are routes by the first segment of their paths.
type grouped struct {
	n      int
	names  []string // in order of appearance
	routes map[string][]string
}

func (g *grouped) add(r route) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.path, "/"), "/")
	if g.routes == nil {
		g.routes = map[string][]string{}
	}
	if g.routes[name] == nil {
		g.names = append(g.names, name)
	}
	g.routes[name] = append(g.routes[name], fmt.Sprintf("`%s %s`", r.method, r.path))
	g.n++
}

func (g *grouped) print(b *bytes.Buffer, title string) {
	if g.n == 0 {
		return
	}
	fmt.Fprintf(b, "%s (%d):\n\n", title, g.n)
	for _, name := range g.names {
		fmt.Fprintf(b, "- %s\n", strings.Join(g.routes[name], ", "))
	}
	b.WriteString("\n")
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
