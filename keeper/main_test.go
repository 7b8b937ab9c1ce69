package keeper_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"hoy/keeper"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	code := rootful.Main(m)
	if dir := built.dir; dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// built is the keeper's program, built once for all tests.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "hoy-keeper-test"); built.err != nil {
			return
		}
		c := exec.Command("go", "build", "-o", built.dir+"/hoy-keeper", "hoy/cmd/hoy-keeper")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("cannot build hoy-keeper: %w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "hoy-keeper")
}

// TestUsage also links Main into the test, so that go test runs the tests again
// when only it has changed.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"--exec-root"}, {"--exec-root", ""}, {"run"}, {"--exec-root", "/x", "y"}} {
		if code := keeper.Main(args); code != 2 {
			t.Errorf("hoy-keeper %q: exit code %d, want 2", args, code)
		}
	}
}
