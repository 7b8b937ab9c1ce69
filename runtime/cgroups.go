package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/mount"
)

// hierarchy is a cgroup file system of the host.
type hierarchy struct {
	dir         string // where it is mounted
	name        string // its name in the container's /sys/fs/cgroup
	controllers []string
	unified     bool
}

// findHierarchies reads the host's mount table.
func findHierarchies() ([]hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot find the cgroup hierarchies: %w", err)
	}
	defer f.Close()
	var out []hierarchy
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if h, ok := parseHierarchy(lines.Text()); ok {
			out = append(out, h)
		}
	}
	return out, nil
}

// parseHierarchy reads a line of mountinfo (proc_pid_mountinfo(5)).
func parseHierarchy(line string) (h hierarchy, ok bool) {
	mounted, fs, found := strings.Cut(line, " - ")
	m, t := strings.Fields(mounted), strings.Fields(fs)
	if !found || len(m) < 5 || len(t) < 3 || t[0] != "cgroup" && t[0] != "cgroup2" {
		return h, false
	}
	h = hierarchy{dir: m[4], name: filepath.Base(m[4]), unified: t[0] == "cgroup2"}
	if strings.Contains(h.name, ",") {
		h.controllers = strings.Split(h.name, ",")
	}
	return h, true
}

// mountCgroups shows the container its own groups. They are copies of the host's
// mounts with the group as root, which is what a new mount in a cgroup namespace
// shows as well, for a fraction of the work.
func (b *builder) mountCgroups(m specs.Mount, a attributes) error {
	if err := b.group(); err != nil {
		return err
	}
	var v1, unified []hierarchy
	for _, h := range b.rt.groups {
		if h.unified {
			unified = append(unified, h)
		} else {
			v1 = append(v1, h)
		}
	}
	switch {
	case len(v1) > 0:
		return b.mountV1(m, a, v1)
	case len(unified) == 0:
		return fault.New(fault.NotImplemented, "this machine has no cgroup file system")
	case b.ns.has(unix.CLONE_NEWCGROUP):
		return b.bindGroup(filepath.Join(unified[0].dir, b.groupPath()), m.Destination, a)
	}
	return b.bindGroup(unified[0].dir, m.Destination, a)
}

func (b *builder) bindGroup(source, destination string, a attributes) error {
	f, err := mount.Bind(source, false)
	if err != nil {
		return err
	}
	b.keep(f)
	if err := mount.SetAttr(f, false, a.set, a.clear, unix.MS_PRIVATE, nil); err != nil {
		return err
	}
	return b.attach(attachment{object: destination, source: f}, true)
}

// mountV1 makes a folder with the container's group in each hierarchy.
func (b *builder) mountV1(m specs.Mount, a attributes, hierarchies []hierarchy) error {
	dir, err := mount.New("tmpfs", "cgroup", int(a.set&^unix.MOUNT_ATTR_RDONLY), mount.Option{Key: "mode", Value: "755"})
	if err != nil {
		return err
	}
	b.keep(dir)
	for _, h := range hierarchies {
		if err := unix.Mkdirat(int(dir.Fd()), h.name, 0o755); err != nil {
			return fmt.Errorf("cannot create %s: mkdirat: %w", h.name, err)
		}
		for _, c := range h.controllers {
			if err := unix.Symlinkat(h.name, int(dir.Fd()), c); err != nil {
				return fmt.Errorf("cannot create %s: symlinkat: %w", c, err)
			}
		}
	}
	if err := mount.SetAttr(dir, false, a.set, a.clear, 0, nil); err != nil {
		return err
	}
	if err := b.attach(attachment{object: m.Destination, source: dir}, true); err != nil {
		return err
	}
	for _, h := range hierarchies {
		err := b.bindGroup(filepath.Join(h.dir, b.groupPath()), filepath.Join(m.Destination, h.name), a)
		if err != nil && !errors.Is(err, unix.ENOENT) { // not every hierarchy has a group for us
			return err
		}
	}
	return nil
}
