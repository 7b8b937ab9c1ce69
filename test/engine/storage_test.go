package engine

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStorageLimit bounds what a container may write, where the file system of the data
// root has project quotas (the image HOY_TEST_QUOTA, in test/vm); elsewhere it is
// refused with the reason.
func TestStorageLimit(t *testing.T) {
	image := os.Getenv("HOY_TEST_QUOTA")
	if image == "" {
		e := withBusybox(t)
		e.refused(map[string]string{
			"--storage-opt size=10m":                                      "project quotas: ",
			"--storage-opt colour=blue":                                   "unknown option colour",
			"--mount type=volume,source=vol,target=/m,volume-opt=size=1m": "quota size requested but no quota support",
		})
		e.nothingLeft()
		return
	}
	root := t.TempDir()
	if out, err := exec.Command("/bin/busybox", "mount", "-t", "ext4", "-o", "loop,prjquota", image, root).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) }) // behind the engine's end
	e := withBusybox(t, "--data-root", root+"/hoy")
	for flags, at := range map[string]string{"--storage-opt size=4m": "/", "--volume-driver local --mount type=volume,source=vol,target=/m,volume-opt=size=4m": "/m/"} {
		r := e.Try(append(append([]string{"run", "--rm"}, strings.Fields(flags)...), "busybox", "sh", "-c", "head -c 1m /dev/zero >"+at+"a && echo fits; head -c 8m /dev/zero >"+at+"b || echo full")...)
		if !strings.Contains(r.Stdout, "fits") || !strings.Contains(r.Stdout, "full") {
			t.Errorf("%s: %+v", flags, r)
		}
	}
	e.holds([][3]string{{"run --rm busybox", "head -c 8m /dev/zero >/b && echo unlimited", "unlimited"}})
	e.Hoy("volume", "rm", "vol")
}
