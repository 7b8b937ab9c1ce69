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
			// The golden plans are those of v1's hierarchies. Package mount cannot id-map the
			// layers of an overlay on kernels before 6.13.
			{Name: "runtime", Package: "hoy/runtime", Args: []string{"-test.skip=^TestPlan$|/user-ns$|//user-ns$"}},
		},
		Commands: []string{"hoy/test/init"},
		Files: map[string]string{
			"/bin/busybox": "/bin/busybox", "/bin/sh": "/bin/busybox", "/bin/true": "/bin/busybox", "/bin/cat": "/bin/busybox",
		},
	})
}
