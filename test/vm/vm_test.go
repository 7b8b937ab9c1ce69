package vm

import "testing"

// TestCgroupV2 runs the suites that touch control groups again, where the kernel has
// nothing but cgroup v2.
func TestCgroupV2(t *testing.T) {
	Run(t, Batch{
		Programs: []Program{
			{Name: "cgroup", Package: "hoy/linux/cgroup"},
		},
		Files: map[string]string{"/bin/busybox": "/bin/busybox", "/bin/sh": "/bin/busybox"},
	})
}
