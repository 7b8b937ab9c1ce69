// Package build builds the static init program that tests run inside containers.
package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// build runs once in a test process. The file stays in the user's cache directory.
var build = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "hoy-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Test processes of several packages build at once: each links a file of its own
	// and puts it in place in one step.
	out := filepath.Join(dir, fmt.Sprintf("init.%d", os.Getpid()))
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "hoy/test/init")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the test init: %w\n%s", err, msg)
	}
	path := filepath.Join(dir, "init")
	return path, os.Rename(out, path)
})

// Init returns the path of the static test init (test/init).
func Init(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
