package cgroup

import "testing"

// TestLeaves: within what systemd has delegated, the groups above it are not touched;
// a group elsewhere, which a user has asked for, is made as always.
func TestLeaves(t *testing.T) {
	h := &Host{own: "system.slice/hoy.service"}
	for _, tc := range []struct {
		rel, parent string
		want        bool
	}{
		{".", "system.slice/hoy.service/containers", true},
		{"system.slice", "system.slice/hoy.service/containers", true},
		{"system.slice/hoy.service", "system.slice/hoy.service/containers", false},
		{"system.slice/hoy.service/containers", "system.slice/hoy.service/containers", false},
		{".", "mine", false},
		{"system.slice", "system.slice/hoy.services", false},
	} {
		if got := h.leaves(tc.rel, tc.parent); got != tc.want {
			t.Errorf("%s for %s: %v", tc.rel, tc.parent, got)
		}
	}
	if (&Host{}).leaves(".", "hoy") {
		t.Error("without delegation all groups are ours")
	}
}

func TestUnifiedGroup(t *testing.T) {
	for list, want := range map[string]string{
		"0::/system.slice/hoy.service/engine\n":    "/system.slice/hoy.service/engine",
		"4:memory:/a\n1:cpu,cpuacct:/b\n0::/c/d\n": "/c/d",
		"4:memory:/a\n": "",
		"":              "",
	} {
		if got := unifiedGroup(list); got != want {
			t.Errorf("%q: %q", list, got)
		}
	}
}
