// Package built has programs of others that tests and benchmarks need, built from their Go
// modules: distributions have other releases, or none.
package built

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// A Program is built once on a machine, by a script in test/.
type Program struct{ Name, script string }

var (
	// Shim is containerd's shim for OCI runtimes.
	Shim = Program{"containerd-shim-runc-v2", "runcshim.sh"}
	// Docker is docker's own command line, of the release that the transcripts of test/docker
	// are recorded with.
	Docker = Program{"docker", "dockercli.sh"}
)

// Path returns where the program is.
func (p Program) Path(t testing.TB) string {
	t.Helper()
	path, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Build returns where the program is, after it has been built if need be.
func (p Program) Build() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "hoy-test", p.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	_, file, _, _ := runtime.Caller(0)
	c := rootful.OnHostNetwork(exec.Command(filepath.Join(filepath.Dir(filepath.Dir(file)), p.script), dir)) // modules are fetched
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w", p.Name, err)
	}
	return filepath.Join(dir, p.Name), nil
}
