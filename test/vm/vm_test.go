package vm

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestCgroupV2 runs the suites that make containers or touch control groups again,
// where the kernel has nothing but cgroup v2. It is also the oldest kernel that the
// suites meet.
func TestCgroupV2(t *testing.T) {
	Run(t, Batch{
		Programs: []Program{
			{Name: "cgroup", Package: "hoy/linux/cgroup"},
			{Name: "seccomp", Package: "hoy/linux/seccomp", Args: []string{"-test.run=Kernel"}},
			{Name: "mount", Package: "hoy/linux/mount"},
			// With a user namespace a container needs of the kernel whatever it needs without,
			// and more.
			// The kernel of many a machine has no ipvlan, VLANs or SCTP. This one has.
			{Name: "network", Package: "hoy/network", Env: []string{"HOY_TEST_WHOLE_KERNEL=1"}, Args: []string{"-test.run=^(TestMacvlan|TestIpvlan|TestVLANParent|TestSCTP.*|TestReach)$"}},
			{Name: "runtime", Package: "hoy/runtime", Args: []string{"-test.skip=^Test/^host-user$"}},
		},
		Commands: []string{"hoy/test/init"},
		Files: map[string]string{
			"/bin/busybox": "/bin/busybox", "/bin/sh": "/bin/busybox", "/bin/true": "/bin/busybox", "/bin/cat": "/bin/busybox", "/bin/cp": "/bin/busybox", "/bin/ip": "/bin/busybox", "/bin/unshare": "/bin/busybox",
		},
	})
}

// TestEngineOnCgroupV2 runs the engine itself where the kernel has nothing but cgroup
// v2: every limit's effect, and a storage limit on a file system with project quotas.
func TestEngineOnCgroupV2(t *testing.T) {
	image := filepath.Join(t.TempDir(), "quota.img")
	if out, err := exec.Command("mkfs.ext4", "-q", "-O", "quota,project", image, "64M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	Run(t, Batch{
		Programs: []Program{
			{Name: "quota", Package: "hoy/linux/quota", Env: []string{"HOY_TEST_QUOTA=/quota.img"}},
			{Name: "engine", Package: "hoy/test/engine", Env: []string{"HOY_TEST_BIN=/built/hoy/cmd", "HOY_TEST_QUOTA=/quota.img"},
				Args: []string{"-test.run=^(TestLimits|TestLimitsBite|TestDeviceRules|TestStorageLimit|TestImageMounts|TestVolumeSubpath|TestCDI)$"}},
		},
		Commands: []string{"hoy/cmd/hoy", "hoy/cmd/hoyd", "hoy/cmd/hoy-keeper"},
		Files:    map[string]string{"/bin/busybox": "/bin/busybox", "/bin/sh": "/bin/busybox", "/quota.img": image},
		Memory:   2048,
		Timeout:  9 * time.Minute,
	})
}
