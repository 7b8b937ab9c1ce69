package vm

import "testing"

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
			{Name: "runtime", Package: "hoy/runtime", Args: []string{"-test.skip=^Test/^host-user$"}},
		},
		Commands: []string{"hoy/test/init"},
		Files: map[string]string{
			"/bin/busybox": "/bin/busybox", "/bin/sh": "/bin/busybox", "/bin/true": "/bin/busybox", "/bin/cat": "/bin/busybox",
		},
	})
}
