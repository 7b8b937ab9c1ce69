package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk has not a byte left for the data root: what runs goes on, changes are
// refused and change nothing, and an engine starts nevertheless, after its end and after
// it was killed. With room again all is as it was.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) }) // behind the engine's end
	e := withBusybox(t, "--data-root", disk+"/hoy")
	e.Hoy("network", "create", "net")
	e.Hoy("run", "-v", "vol:/v", "--name", "old", "busybox", "sh", "-c", "echo kept >/v/f; echo kept >/f")
	e.Hoy("run", "-d", "--name", "up", "--network", "net", "busybox", "sleep", "1000")
	fill(t, filepath.Join(disk, "fill"))
	for _, args := range []string{
		"run --rm busybox true", "create busybox true", "volume create other", "volume clone vol other", "network create other", "network rm net",
		"rename old other", "update --restart always old", "commit old other",
	} {
		if r := e.Try(strings.Fields(args)...); r.Code == 0 || !strings.Contains(r.Stderr, "no space left") && !strings.Contains(r.Stderr, "in use") && !strings.Contains(r.Stderr, "active endpoints") {
			t.Errorf("%s: %+v", args, r)
		}
	}
	for _, end := range []func(){e.Kill, e.endGently} {
		fill(t, filepath.Join(disk, "fill"))
		end()
		e.Up()
		if got := e.Hoy("exec", "up", "echo", "here"); got != "here" {
			t.Errorf("exec: %q", got)
		}
	}
	if err := os.Remove(filepath.Join(disk, "fill")); err != nil {
		t.Fatal(err)
	}
	if got := e.Hoy("run", "--rm", "--network", "net", "-v", "vol:/v", "busybox", "cat", "/v/f"); got != "kept" {
		t.Errorf("the volume has %q", got)
	}
	if got := e.Hoy("ps", "-a", "--format", "{{.Names}}"); got != "up\nold" {
		t.Errorf("containers: %q", got)
	}
	e.Hoy("rm", "-f", "up", "old")
	e.Hoy("volume", "rm", "vol")
	e.Hoy("network", "rm", "net")
	e.nothingLeft()
}

// fill appends to a file until nothing more goes.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); ; {
		if _, err := f.Write(b); err != nil {
			return
		}
	}
}
