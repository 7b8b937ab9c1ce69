package quota

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/lib/thread"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// TestRefused: a file system without project quotas says so.
func TestRefused(t *testing.T) {
	rootful.Check(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	for _, err := range []error{Supported(dir), Limit(dir, 1<<20)} {
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "has no project quotas: it must be xfs or ext4, mounted with prjquota") {
			t.Errorf("%v", err)
		}
	}
	if err := Clear(dir); err != nil {
		t.Errorf("clearing nothing: %v", err)
	}
}

// TestLimit runs where HOY_TEST_QUOTA names the image of a file system with project
// quotas that the kernel can mount: test/vm has both.
func TestLimit(t *testing.T) {
	image := os.Getenv("HOY_TEST_QUOTA")
	if image == "" {
		t.Skip("HOY_TEST_QUOTA names no file system with project quotas; test/vm runs this")
	}
	rootful.Check(t)
	root := t.TempDir()
	if out, err := exec.Command("/bin/busybox", "mount", "-t", "ext4", "-o", "loop,prjquota", image, root).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	defer unix.Unmount(root, 0)
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	for _, d := range []string{a, b} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := Limit(d, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	thread.Run(func() { checkLimits(t, root, a, b) })
}

// checkLimits gives the thread's right to exceed limits away first (CAP_SYS_RESOURCE),
// as containers and overlayfs do.
func checkLimits(t *testing.T, root, a, b string) {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&h, &caps[0]); err != nil {
		t.Error(err)
	}
	caps[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	if err := unix.Capset(&h, &caps[0]); err != nil {
		t.Error(err)
	}
	// Below as well, and each has its own.
	if err := os.Mkdir(filepath.Join(a, "below"), 0o755); err != nil {
		t.Error(err)
	}
	big := make([]byte, 900<<10)
	if err := os.WriteFile(filepath.Join(a, "below", "f"), big, 0o600); err != nil {
		t.Errorf("within the limit: %v", err)
	}
	if err := os.WriteFile(filepath.Join(b, "f"), big, 0o600); err != nil {
		t.Errorf("the other's limit: %v", err)
	}
	if err := os.WriteFile(filepath.Join(a, "g"), big, 0o600); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		t.Errorf("above the limit: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "h"), make([]byte, 4<<20), 0o600); err != nil {
		t.Errorf("outside: %v", err)
	}
	if err := Clear(a); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(a, "g"), big, 0o600); err != nil {
		t.Errorf("after Clear: %v", err)
	}
}
