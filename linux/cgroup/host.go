// Package cgroup makes, limits, measures, freezes, kills and removes control
// groups on cgroup v2, v1 and the hybrid of both.
package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Mode is how this machine lays out its hierarchies.
type Mode uint8

// The modes.
const (
	V1     Mode = iota + 1 // one hierarchy per controller
	Hybrid                 // v1 controllers, and a v2 hierarchy without them beside
	V2                     // one hierarchy with all controllers
)

func (m Mode) String() string { return [...]string{"none", "v1", "hybrid", "v2"}[m] }

// Host is the hierarchies of this machine, found once by Open. A group has the same
// path in each of them:
//
//	h, err := cgroup.Open("")
//	g, err := h.Create("/hoy/c0ffee", resources) // one mkdir per hierarchy, and the limits
//	defer g.Close()
//	// A child is born in g.CloneInto() and writes "0" to each of g.Tasks().
//	g.Freeze(); g.Thaw(); g.Stats(); g.Kill()
//	err = g.Remove()
//
// On v1 and hybrid hosts only hierarchies of controllers that this package can set
// are used. What the unified hierarchy does without controllers (killing, freezing,
// listing processes) is done there on hybrid hosts too.
type Host struct {
	mode    Mode
	root    string
	v1      []hierarchy
	others  []hierarchy // of v1, which this package makes no groups in: other runtimes do
	unified *hierarchy  // nil on pure v1
	own     string      // relative; groups above it are a service manager's: "" when all are ours

	oom oomWatcher

	mu       sync.Mutex
	parents  map[string]bool          // prepared by this Host
	programs map[string]*ebpf.Program // device filters by their rules
}

// hierarchy is one mounted tree of groups.
type hierarchy struct {
	dir         *os.File // O_PATH
	controllers []string
}

func (h *hierarchy) fd() int { return int(h.dir.Fd()) }

func (h *hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// settable are the v1 controllers that are of use to a container here.
func settable(controller string) bool {
	switch controller {
	case "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "rdma":
		return true
	}
	return false
}

// Open finds the hierarchies below root, by default /sys/fs/cgroup. They stay open
// until Close.
func Open(root string) (*Host, error) { return open(root, true) }

// open can overlook the unified hierarchy of a hybrid host, which makes it a v1 host.
func open(root string, unified bool) (*Host, error) {
	if root == "" {
		root = "/sys/fs/cgroup"
	}
	h := &Host{root: root, parents: map[string]bool{}, programs: map[string]*ebpf.Program{}}
	magic, err := fsType(root)
	if err != nil {
		return nil, err
	}
	if magic == unix.CGROUP2_SUPER_MAGIC {
		h.mode = V2
		return h, h.addUnified(root)
	}
	if err := h.addAll(unified); err != nil {
		h.Close()
		return nil, err
	}
	switch {
	case len(h.v1) == 0:
		h.Close()
		return nil, errors.New("no control group hierarchy is mounted below " + root)
	case h.unified != nil:
		h.mode = Hybrid
	default:
		h.mode = V1
	}
	return h, nil
}

func fsType(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return int64(st.Type), nil
}

func (h *Host) addAll(unified bool) error {
	entries, err := os.ReadDir(h.root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() { // cpu may be a link to cpu,cpuacct
			continue
		}
		path := filepath.Join(h.root, e.Name())
		magic, err := fsType(path)
		if err != nil {
			return err
		}
		switch {
		case magic == unix.CGROUP2_SUPER_MAGIC && unified && h.unified == nil:
			err = h.addUnified(path)
		case magic == unix.CGROUP_SUPER_MAGIC:
			err = h.addV1(path, strings.Split(e.Name(), ","))
		}
		if err != nil {
			return err
		}
	}
	// Frozen in the unified hierarchy, a group needs no other freezer.
	if h.unified != nil {
		h.v1 = slices.DeleteFunc(h.v1, func(v hierarchy) bool {
			unneeded := slices.Equal(v.controllers, []string{"freezer"})
			if unneeded {
				h.others = append(h.others, v)
			}
			return unneeded
		})
	}
	return nil
}

func (h *Host) addV1(path string, controllers []string) error {
	d, err := openPath(path)
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(controllers, settable):
		h.v1 = append(h.v1, hierarchy{d, controllers})
	default:
		h.others = append(h.others, hierarchy{d, controllers})
	}
	return nil
}

func (h *Host) addUnified(path string) error {
	d, err := openPath(path)
	if err != nil {
		return err
	}
	h.unified = &hierarchy{dir: d}
	b, err := os.ReadFile(filepath.Join(path, "cgroup.controllers"))
	if err == nil && h.mode == V2 {
		h.unified.controllers = strings.Fields(string(b))
	}
	return err
}

func openPath(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// Close closes the hierarchies. Groups of the Host are of no use afterwards.
func (h *Host) Close() error {
	h.oom.close()
	for _, v := range h.all() {
		v.dir.Close()
	}
	for _, v := range h.others {
		v.dir.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.programs {
		p.Close()
	}
	clear(h.programs)
	return nil
}

// all lists the hierarchies, the unified one last.
func (h *Host) all() []*hierarchy {
	var all []*hierarchy
	for i := range h.v1 {
		all = append(all, &h.v1[i])
	}
	if h.unified != nil {
		all = append(all, h.unified)
	}
	return all
}

// everything is all, and before them those in which only others make groups.
func (h *Host) everything() []*hierarchy {
	var l []*hierarchy
	for i := range h.others {
		l = append(l, &h.others[i])
	}
	return append(l, h.all()...)
}

// Mode says how the hierarchies are laid out.
func (h *Host) Mode() Mode { return h.mode }

// Controllers lists, sorted and by the kernel's names for this Mode, the controllers
// that limits can be set with. Limits of others are errors: a caller that prefers to
// drop them with a warning looks here first. "devices" and "freezer" are in the list
// on v2, too, where the kernel does not count them as controllers.
func (h *Host) Controllers() []string {
	var c []string
	if h.unified != nil {
		c = append(c, "devices", "freezer")
		c = append(c, h.unified.controllers...)
	}
	for _, v := range h.v1 {
		c = append(c, slices.DeleteFunc(slices.Clone(v.controllers), func(s string) bool { return !settable(s) })...)
	}
	slices.Sort(c)
	return slices.Compact(c)
}

// find returns the hierarchy of a controller, nil when there is none.
func (h *Host) find(controller string) *hierarchy {
	for _, v := range h.all() {
		if v.has(controller) {
			return v
		}
	}
	return nil
}
