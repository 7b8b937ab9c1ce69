package keeper_test

import (
	"os"
	"testing"

	"hoy/keeper"
	"hoy/test/keeperbin"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	code := rootful.Main(m)
	keeperbin.Remove()
	os.Exit(code)
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
