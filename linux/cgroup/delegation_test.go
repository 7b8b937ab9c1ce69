package cgroup

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

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

// TestDelegated: as under systemd, this process is in a leaf of a delegated group. Limits
// are possible beside it, and the groups above are left as they are.
func TestDelegated(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		if _, ok := h.Delegated(); ok {
			t.Fatal("a group that nobody has marked is taken for a delegated one")
		}
		if h.Mode() != V2 {
			return // only v2 has delegation
		}
		const top, service = "/sys/fs/cgroup/hoy-top", "/sys/fs/cgroup/hoy-top/service"
		put := func(file, value string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		list, _ := os.ReadFile("/proc/self/cgroup")
		before := unifiedGroup(string(list))
		t.Cleanup(func() {
			put("/sys/fs/cgroup"+before+"/cgroup.procs", strconv.Itoa(os.Getpid()))
			if err := h.Load("/hoy-top").Remove(); err != nil {
				t.Error(err)
			}
		})
		if err := os.MkdirAll(service+"/engine", 0o755); err != nil {
			t.Fatal(err)
		}
		put("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids")
		put(top+"/cgroup.subtree_control", "+memory +pids")
		put(service+"/engine/cgroup.procs", strconv.Itoa(os.Getpid()))
		if err := unix.Setxattr(service, "trusted.delegate", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		if group, ok := h.Delegated(); !ok || group != "/hoy-top/service" {
			t.Fatal(group, ok)
		}
		leaf, err := h.Leaf("/hoy-top/service/keeper")
		if err != nil {
			t.Fatal(err)
		}
		leaf.Close()
		limit := int64(32 << 20)
		g, err := h.Create("/hoy-top/service/containers/one", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		for file, want := range map[string]string{
			service + "/containers/one/memory.max": "33554432",
			service + "/cgroup.subtree_control":    "memory pids",
			top + "/cgroup.subtree_control":        "memory pids",
		} {
			if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != want {
				t.Errorf("%s: %q, %v; want %q", file, b, err, want)
			}
		}
	})
}
