// Package runcshim has containerd's shim for OCI runtimes, for tests of containers that hoy
// does not run itself.
package runcshim

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// Name is the name of the program.
const Name = "containerd-shim-runc-v2"

// Dir returns the directory of the program. It is built once on a machine.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatalf("cannot build %s: %v", Name, err)
	}
	return dir
}

var built = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "hoy-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, Name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	_, file, _, _ := runtime.Caller(0)
	c := rootful.OnHostNetwork(exec.Command(filepath.Join(filepath.Dir(filepath.Dir(file)), "runcshim.sh"), dir)) // modules are fetched
	c.Stderr = os.Stderr
	return dir, c.Run()
})
