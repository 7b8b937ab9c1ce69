package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Create makes the group in every hierarchy, with the groups above it where they are
// missing, and sets its limits. path is absolute within the hierarchies, such as
// /hoy/<id>. A group of that path without processes is replaced.
func (h *Host) Create(path string, r *specs.LinuxResources) (*Group, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	settings, err := plan(h.mode, r)
	if err != nil {
		return nil, fmt.Errorf("cannot limit cgroup %s: %w", path, err)
	}
	rules, err := parseDevices(r)
	if err != nil {
		return nil, fmt.Errorf("cannot limit cgroup %s: %w", path, err)
	}
	g := h.Load(path)
	if err := h.makeAll(g); err != nil {
		if fault.Is(err, fault.Conflict) { // it is somebody else's
			return nil, err
		}
		return nil, errors.Join(err, g.Remove())
	}
	settings = slices.DeleteFunc(settings, func(s setting) bool { return s.initial })
	err = g.apply(settings, g.write)
	if err == nil {
		err = g.setDevices(rules, true)
	}
	if err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

func checkPath(p string) error {
	if p == "/" || !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, "\x00\n") {
		return fault.New(fault.Invalid, "%q is no path of a cgroup: it is absolute and has no empty parts, . or ..", p)
	}
	return nil
}

func (h *Host) makeAll(g *Group) error {
	for _, v := range h.all() {
		if err := h.make(v, g.rel); err != nil {
			return fmt.Errorf("cannot make cgroup %s: %w", g.path, err)
		}
	}
	return nil
}

// make makes one directory, preparing its parents on the first occasion.
func (h *Host) make(v *hierarchy, rel string) error {
	parent := path.Dir(rel)
	if err := h.prepare(v, parent, false); err != nil {
		return err
	}
	err := unix.Mkdirat(v.fd(), rel, 0o755)
	switch err {
	case unix.ENOENT: // somebody removed the parent
		if err := h.prepare(v, parent, true); err != nil {
			return err
		}
		err = unix.Mkdirat(v.fd(), rel, 0o755)
	case unix.EEXIST: // left over; new limits shall start from the initial values
		if err := removeTree(v.fd(), rel); err != nil {
			return fault.New(fault.Conflict, "it exists and is in use: %w", err)
		}
		err = unix.Mkdirat(v.fd(), rel, 0o755)
	}
	if err != nil {
		return &os.PathError{Op: "mkdirat", Path: v.name(rel), Err: err}
	}
	if parent == "." && v.has("cpuset") && h.mode != V2 {
		return inheritCpuset(v.fd(), rel)
	}
	return nil
}

// name is how errors call a group's directory: with the hierarchy's own directory.
func (v *hierarchy) name(rel string) string { return path.Join(v.dir.Name(), rel) }

// prepare makes the groups above a container's once for a hierarchy.
func (h *Host) prepare(v *hierarchy, parent string, again bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := v.name(parent)
	if h.parents[key] && !again {
		return nil
	}
	above := []string{"."}
	for at := range strings.SplitSeq(parent, "/") {
		if at != "." {
			above = append(above, path.Join(above[len(above)-1], at))
		}
	}
	for _, rel := range above {
		if err := unix.Mkdirat(v.fd(), rel, 0o755); rel != "." && err != nil && err != unix.EEXIST {
			return &os.PathError{Op: "mkdirat", Path: v.name(rel), Err: err}
		}
		if h.leaves(rel, parent) {
			continue
		}
		if err := h.prepareOne(v, rel); err != nil {
			return err
		}
	}
	h.parents[key] = true
	return nil
}

func (h *Host) prepareOne(v *hierarchy, rel string) error {
	switch {
	case h.mode == V2:
		return delegate(v, rel)
	case v.has("cpuset") && rel != ".":
		if err := inheritCpuset(v.fd(), rel); err != nil {
			return err
		}
		// From now on the kernel copies for every group made in this one.
		return writeFile(v.fd(), path.Join(rel, "cgroup.clone_children"), "1")
	}
	return nil
}

// inheritCpuset gives a group of v1 its parent's processors and memory nodes: it has
// none at first and no task can join it.
func inheritCpuset(dir int, rel string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		s, err := readFile(dir, path.Join(rel, file))
		if err != nil {
			return err
		}
		if strings.TrimSpace(s) != "" {
			continue
		}
		if s, err = readFile(dir, path.Join(path.Dir(rel), file)); err != nil {
			return err
		}
		if err := writeFile(dir, path.Join(rel, file), strings.TrimSpace(s)); err != nil {
			return err
		}
	}
	return nil
}

// delegate lets the groups in rel have the controllers that rel has.
func delegate(v *hierarchy, rel string) error {
	has, err := readFile(v.fd(), path.Join(rel, "cgroup.controllers"))
	if err != nil {
		return err
	}
	file := path.Join(rel, "cgroup.subtree_control")
	gives, err := readFile(v.fd(), file)
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range strings.Fields(has) {
		switch c {
		case "cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma":
			if !slices.Contains(strings.Fields(gives), c) {
				missing = append(missing, "+"+c)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err = writeFile(v.fd(), file, strings.Join(missing, " "))
	if errors.Is(err, unix.EBUSY) {
		return fault.New(fault.Conflict, "processes are in cgroup %s itself, and cgroup v2 allows limits only below groups without processes: move them to a group of their own (%w)", v.name(rel), err)
	}
	if errors.Is(err, unix.EINVAL) { // one of them cannot be had, such as cpu beside realtime tasks
		for _, m := range missing {
			if err := writeFile(v.fd(), file, m); err != nil && !errors.Is(err, unix.EINVAL) {
				return err
			}
		}
		return nil
	}
	return err
}

// apply writes the settings. Some are refused until another is there (the limit of
// memory cannot be above that of memory and swap, a quota not below its burst): what
// failed is tried again after the others.
func (g *Group) apply(settings []setting, write func(setting) error) error {
	var refused []setting
	for _, s := range settings {
		if err := write(s); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY) {
			refused = append(refused, s)
		} else if err != nil {
			return err
		}
	}
	for _, s := range refused {
		if err := write(s); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) write(s setting) error {
	v := g.hierarchy(s)
	if v == nil {
		return fault.New(fault.Invalid, "cannot set %s: this machine has no cgroup controller %s", s.files[0], s.controller)
	}
	for _, file := range s.files {
		err := writeFile(v.fd(), path.Join(g.rel, file), s.value)
		switch {
		case errors.Is(err, unix.ENOENT) && exists(v.fd(), g.rel):
			continue
		case errors.Is(err, unix.EINVAL) && file == "cpu.rt_runtime_us":
			return fault.New(fault.Invalid, "cannot set %s of cgroup %s to %q: it is more than the groups above have (hoyd's --cpu-rt-runtime gives it to them): %w", file, g.path, s.value, err)
		case err != nil:
			return fault.New(kindOf(err), "cannot set %s of cgroup %s to %q: %w", file, g.path, s.value, err)
		}
		return nil
	}
	if s.other != nil {
		return g.write(*s.other)
	}
	return fault.New(fault.Invalid, "cannot set %s: this kernel's cgroup controller %s has no such file", s.files[0], s.controller)
}

// hierarchy is where a setting's files are, nil: nowhere.
func (g *Group) hierarchy(s setting) *hierarchy {
	if s.controller == "cgroup" {
		return g.host.unified
	}
	return g.host.find(s.controller)
}

// kindOf tells values that the kernel refuses from failures of ours.
func kindOf(err error) fault.Kind {
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
		return fault.Invalid
	case errors.Is(err, unix.EBUSY):
		return fault.Conflict
	case errors.Is(err, unix.ENOENT):
		return fault.NotFound
	}
	return fault.Internal
}
