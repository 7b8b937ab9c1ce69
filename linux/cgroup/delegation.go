package cgroup

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Delegated returns the group that a service manager has handed to this process to do
// with as it likes (systemd's Delegate=), if the process itself was put into a group
// below (DelegateSubgroup=): so that groups with limits can be made beside it, as v2
// allows them only in groups without processes. From then on the groups above it, which
// are the manager's alone to write to, are left as they are:
//
//	/system.slice/hoy.service             delegated: no process, controllers for those below
//	/system.slice/hoy.service/engine      this process
//	/system.slice/hoy.service/keeper      a Leaf
//	/system.slice/hoy.service/containers  parent of the containers' groups
//
// The format of the marks is in systemd's CGROUP_DELEGATION.
func (h *Host) Delegated() (group string, ok bool) {
	if h.mode != V2 {
		return "", false
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", false
	}
	group = path.Dir(unifiedGroup(string(b)))
	if group == "/" || group == "." || !delegatedMark(h.root+group) {
		return "", false
	}
	h.own = relative(group)
	return group, true
}

// unifiedGroup takes the group of the unified hierarchy from a process's list, which
// may have those of others beside it; cgroups(7).
func unifiedGroup(list string) string {
	for line := range strings.Lines(list) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return group
		}
	}
	return ""
}

// delegatedMark reports whether systemd has marked a directory as delegated.
func delegatedMark(dir string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(dir, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// leaves reports whether rel, at or above the parent of a group to be made, is left as
// it is: what is above the delegated group, for groups within that.
func (h *Host) leaves(rel, parent string) bool {
	within := func(group string) bool { return group == h.own || strings.HasPrefix(group, h.own+"/") }
	return h.own != "" && within(parent) && !within(rel)
}

// Leaf makes a group for processes alone, without limits, and opens its directory in
// the unified hierarchy, for a process to be born into.
func (h *Host) Leaf(group string) (*os.File, error) {
	rel := relative(group)
	if err := unix.Mkdirat(h.unified.fd(), rel, 0o755); err != nil && err != unix.EEXIST {
		return nil, &os.PathError{Op: "mkdirat", Path: h.unified.name(rel), Err: err}
	}
	return openAt(h.unified, rel, unix.O_RDONLY|unix.O_DIRECTORY)
}
