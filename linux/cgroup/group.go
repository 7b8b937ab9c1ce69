package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a group may take to freeze, to die or to let itself be removed
// before that is an error.
const patience = 5 * time.Second

// Group is one container's control group, in every hierarchy of its Host.
type Group struct {
	host *Host
	path string
	rel  string // path as the hierarchies' directories see it

	mu    sync.Mutex
	into  *os.File
	tasks []*os.File
}

// Load returns the group of a path, made earlier, without looking at it.
func (h *Host) Load(path string) *Group { return &Group{host: h, path: path, rel: relative(path)} }

// Exists reports whether any hierarchy has a group of this path.
func (h *Host) Exists(path string) bool {
	return slices.ContainsFunc(h.all(), func(v *hierarchy) bool { return exists(v.fd(), relative(path)) })
}

// Beside returns the group that a process must be born into to join process pid of the
// group: g, or on v2, where a group whose sub-groups have controllers takes no
// processes itself (cgroups(7), "no internal processes"), the sub-group that pid is in.
func (g *Group) Beside(pid int) (*Group, error) {
	if g.host.mode != V2 {
		return g, nil
	}
	enabled, err := readFile(g.host.unified.fd(), path.Join(g.rel, "cgroup.subtree_control"))
	if err != nil || strings.TrimSpace(enabled) == "" {
		return g, err
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cannot find the group of process %d: %w", pid, err)
	}
	in := strings.TrimSpace(strings.TrimPrefix(string(b), "0::"))
	if !strings.HasPrefix(in, g.path+"/") || strings.Contains(in, "/../") {
		return g, nil
	}
	return g.host.Load(in), nil
}

// Path is the group's path within the hierarchies.
func (g *Group) Path() string { return g.path }

// CloneInto is the group's directory in the unified hierarchy, for CLONE_INTO_CGROUP.
// It is nil on pure v1, and where Tasks fails. It stays open until Close.
func (g *Group) CloneInto() *os.File {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.openInto() != nil {
		return nil
	}
	return g.into
}

func (g *Group) openInto() (err error) {
	if g.host.unified == nil || g.into != nil {
		return nil
	}
	g.into, err = openAt(g.host.unified, g.rel, unix.O_PATH|unix.O_DIRECTORY)
	return err
}

func openAt(v *hierarchy, rel string, flags int) (*os.File, error) {
	fd, err := unix.Openat(v.fd(), rel, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: v.name(rel), Err: err}
	}
	return os.NewFile(uintptr(fd), v.name(rel)), nil
}

// Tasks are the v1 tasks files, opened for writing, into which a child writes "0" to
// join: it must move only itself, because moving a whole process takes a lock that
// stops every fork and exit on the machine. They stay open until Close.
func (g *Group) Tasks() ([]*os.File, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.openInto(); err != nil {
		return nil, err
	}
	for i := len(g.tasks); i < len(g.host.v1); i++ {
		f, err := openAt(&g.host.v1[i], path.Join(g.rel, "tasks"), unix.O_WRONLY)
		if err != nil {
			return nil, err
		}
		g.tasks = append(g.tasks, f)
	}
	return g.tasks, nil
}

// Close closes what CloneInto and Tasks returned. The group itself lives on.
func (g *Group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.into != nil {
		g.into.Close()
	}
	for _, f := range g.tasks {
		f.Close()
	}
	g.into, g.tasks = nil, nil
	return nil
}

// unified is the unified hierarchy, nil where the group is not in it: groups that another
// runtime has made on a hybrid host are in those of v1 only.
func (g *Group) unified() *hierarchy {
	v := g.host.unified
	if v != nil && g.host.mode == Hybrid && !exists(v.fd(), g.rel) {
		return nil
	}
	return v
}

// core is the hierarchy that lists, freezes and kills processes.
func (g *Group) core() *hierarchy {
	if v := g.unified(); v != nil {
		return v
	}
	if v := g.host.freezer(); v != nil {
		return v
	}
	return &g.host.v1[0]
}

// freezer is the hierarchy of v1 that freezes, nil if there is none.
func (h *Host) freezer() *hierarchy {
	for i, v := range h.others {
		if slices.Contains(v.controllers, "freezer") {
			return &h.others[i]
		}
	}
	return h.find("freezer")
}

// Procs lists the processes of the group and its sub-groups, sorted. One of a group
// that is not there is none.
func (g *Group) Procs() ([]int, error) {
	v := g.core()
	groups, err := subgroups(v.fd(), g.rel)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, nil
		}
		return nil, err
	}
	var pids []int
	for _, rel := range groups {
		s, err := readFile(v.fd(), path.Join(rel, "cgroup.procs"))
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		for f := range strings.FieldsSeq(s) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// Signal sends sig to every process of the group and its sub-groups. For SIGKILL, Kill
// also gets those that are being forked.
func (g *Group) Signal(sig unix.Signal) error {
	pids, err := g.Procs()
	if err != nil {
		return fmt.Errorf("cannot signal cgroup %s: %w", g.path, err)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			return fmt.Errorf("cannot signal process %d of cgroup %s: %w", pid, g.path, err)
		}
	}
	return nil
}

// Freeze stops every task of the group and its sub-groups, and returns when they are.
func (g *Group) Freeze() error { return g.freeze(true) }

// Thaw undoes Freeze.
func (g *Group) Thaw() error { return g.freeze(false) }

// Frozen reports whether the group was told to freeze and not to thaw since, by whichever
// hierarchy: other runtimes take v1's on hybrid hosts.
func (g *Group) Frozen() (frozen bool, err error) {
	look := func(v *hierarchy, file string) {
		if v == nil || frozen || err != nil {
			return
		}
		n, failed := number(v.fd(), path.Join(g.rel, file))
		if failed != nil {
			err = fmt.Errorf("cannot see whether cgroup %s is frozen: %w", g.path, failed)
		}
		frozen = n == 1
	}
	look(g.unified(), "cgroup.freeze")
	if v := g.host.freezer(); v != nil && (g.host.unified == nil || exists(v.fd(), g.rel)) {
		look(v, "freezer.self_freezing")
	}
	return frozen, err
}

func (g *Group) freeze(on bool) error {
	var err error
	if v := g.unified(); v != nil {
		err = g.freezeV2(v, on)
	} else if v := g.host.freezer(); v != nil {
		err = g.freezeV1(v, on)
	} else {
		err = errors.New("this machine has no cgroup controller freezer")
	}
	if err != nil {
		return fmt.Errorf("cannot %s cgroup %s: %w", map[bool]string{true: "freeze", false: "thaw"}[on], g.path, err)
	}
	return nil
}

func (g *Group) freezeV2(v *hierarchy, on bool) error {
	value := map[bool]string{true: "1", false: "0"}[on]
	if err := writeFile(v.fd(), path.Join(g.rel, "cgroup.freeze"), value); err != nil {
		return err
	}
	return until(func() (bool, error) {
		t, err := table(v.fd(), path.Join(g.rel, "cgroup.events"))
		return err == nil && t["frozen"] == map[bool]uint64{true: 1}[on], err
	})
}

// freezeV1 asks again while tasks are being forked: those can leave the kernel's
// freezing half done.
func (g *Group) freezeV1(v *hierarchy, on bool) error {
	state := map[bool]string{true: "FROZEN", false: "THAWED"}[on]
	file := path.Join(g.rel, "freezer.state")
	return until(func() (bool, error) {
		if err := writeFile(v.fd(), file, state); err != nil {
			return false, err
		}
		s, err := readFile(v.fd(), file)
		return strings.TrimSpace(s) == state, err
	})
}

// Kill ends every task of the group and its sub-groups, frozen ones and those being
// forked included. It returns when the signals are sent.
func (g *Group) Kill() error {
	if v := g.unified(); v != nil {
		err := writeFile(v.fd(), path.Join(g.rel, "cgroup.kill"), "1")
		if err == nil || errors.Is(err, unix.ENOENT) && !exists(v.fd(), g.rel) {
			return nil
		}
		if !errors.Is(err, unix.ENOENT) { // kernels before 5.14 have no such file
			return fmt.Errorf("cannot kill cgroup %s: %w", g.path, err)
		}
	}
	if v := g.core(); !exists(v.fd(), g.rel) {
		return nil
	}
	frozen := g.Freeze() // a task that cannot be frozen is signalled nonetheless
	err := g.Signal(unix.SIGKILL)
	if thaw := g.Thaw(); err == nil && thaw != nil {
		err = errors.Join(thaw, frozen)
	}
	return err
}

// Remove removes the group with its sub-groups in every hierarchy, waiting a while for
// tasks that are leaving. What is not there is not missed.
func (g *Group) Remove() error {
	g.Close()
	for _, v := range g.host.everything() {
		var last error
		err := until(func() (bool, error) {
			last = removeTree(v.fd(), g.rel)
			if errors.Is(last, unix.EBUSY) {
				return false, nil
			}
			return last == nil, last
		})
		if err != nil {
			pids, _ := g.Procs()
			return fmt.Errorf("cannot remove cgroup %s (processes %v are in it): %w", v.name(g.rel), pids, last)
		}
	}
	return nil
}

// RemoveEmpty removes the group, unless there are groups or processes in it.
func (g *Group) RemoveEmpty() error {
	g.Close()
	for _, v := range g.host.everything() {
		err := unix.Unlinkat(v.fd(), g.rel, unix.AT_REMOVEDIR)
		if err == unix.EBUSY {
			return nil
		}
		if err != nil && err != unix.ENOENT {
			return &os.PathError{Op: "rmdir", Path: v.name(g.rel), Err: err}
		}
	}
	return nil
}

// removeTree removes a group with what is below it; one that is not there is removed.
func removeTree(dir int, rel string) error {
	err := unix.Unlinkat(dir, rel, unix.AT_REMOVEDIR)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EBUSY {
		return &os.PathError{Op: "rmdir", Path: rel, Err: err}
	}
	groups, err := subgroups(dir, rel)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, group := range groups {
		if err := unix.Unlinkat(dir, group, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
			return &os.PathError{Op: "rmdir", Path: group, Err: err}
		}
	}
	return nil
}

var errSlow = errors.New("the kernel does not finish")

// until asks done again and again, first at once and then less and less often. These
// files cannot all be polled, and what they tell takes the kernel some microseconds.
func until(done func() (bool, error)) error {
	deadline := time.Now().Add(patience)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 50*time.Millisecond) {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errSlow
		}
		time.Sleep(pause)
	}
}
