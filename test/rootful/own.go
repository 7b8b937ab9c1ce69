package rootful

import (
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Own replaces files or directories of the machine by copies of them, which the test may
// change, until it ends.
func Own(t testing.TB, paths ...string) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		copied := filepath.Join(t.TempDir(), "copy")
		if out, err := exec.Command("cp", "-a", p, copied).CombinedOutput(); err != nil {
			t.Fatalf("cannot copy %s: %v: %s", p, err, out)
		}
		if err := unix.Mount(copied, p, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(p, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
}
