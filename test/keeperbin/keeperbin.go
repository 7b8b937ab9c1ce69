// Package keeperbin builds the keeper for tests that start one.
package keeperbin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// Path returns the keeper's program, built once for all tests of a process. Remove
// removes it, which TestMain is to call.
func Path(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "hoy-keeper-test"); built.err != nil {
			return
		}
		c := exec.Command("go", "build", "-o", program(), "hoy/cmd/hoy-keeper")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("cannot build hoy-keeper: %w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return program()
}

func program() string { return filepath.Join(built.dir, "hoy-keeper") }

// Remove removes the program, if it was built.
func Remove() {
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
}
