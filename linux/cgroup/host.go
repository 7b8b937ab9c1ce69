// Package cgroup makes, limits, measures, freezes, kills and removes control
// groups on cgroup v2, v1 and the hybrid of both.
package cgroup

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Mode is how this machine lays out its hierarchies.
type Mode uint8

// The modes.
const (
	V1     Mode = iota + 1 // one hierarchy per controller
	Hybrid                 // v1 controllers, and an empty v2 hierarchy beside them
	V2                     // one hierarchy with all controllers
)

func (m Mode) String() string { return [...]string{"none", "v1", "hybrid", "v2"}[m] }

// Host is the hierarchies of this machine, found once.
type Host struct{ mode Mode }

// Group is one container's control group in every hierarchy.
type Group struct{ path string }

// Stats is what the kernel counts for a group.
type Stats struct{}

var errYet = fault.New(fault.NotImplemented, "not written yet")

// Open finds the hierarchies below root, by default /sys/fs/cgroup.
func Open(root string) (*Host, error) { return nil, errYet }

// Mode says how the hierarchies are laid out.
func (h *Host) Mode() Mode { return h.mode }

// Controllers lists the controllers that limits can be set with, sorted.
func (h *Host) Controllers() []string { return nil }

// Create makes the group in every hierarchy and sets its limits.
func (h *Host) Create(path string, r *specs.LinuxResources) (*Group, error) { return nil, errYet }

// Load returns the group of that path, made earlier, without looking at it.
func (h *Host) Load(path string) *Group { return &Group{path} }

// Path is the group's path within the hierarchies.
func (g *Group) Path() string { return g.path }

// CloneInto is the group's directory in the unified hierarchy, for CLONE_INTO_CGROUP; nil on pure v1.
func (g *Group) CloneInto() *os.File { return nil }

// Tasks are the v1 tasks files, opened for writing, into which the child writes "0".
func (g *Group) Tasks() ([]*os.File, error) { return nil, errYet }

// Close closes the descriptors that CloneInto and Tasks returned.
func (g *Group) Close() error { return nil }

// Set changes the limits of a live group.
func (g *Group) Set(r *specs.LinuxResources) error { return errYet }

// Freeze stops every task of the group and its sub-groups.
func (g *Group) Freeze() error { return errYet }

// Thaw undoes Freeze.
func (g *Group) Thaw() error { return errYet }

// Kill ends every task of the group and its sub-groups.
func (g *Group) Kill() error { return errYet }

// Signal sends sig to every process of the group and its sub-groups.
func (g *Group) Signal(sig unix.Signal) error { return errYet }

// Procs lists the processes of the group and its sub-groups.
func (g *Group) Procs() ([]int, error) { return nil, errYet }

// OOMKills counts the processes killed for lack of memory.
func (g *Group) OOMKills() (uint64, error) { return 0, errYet }

// Stats reads the group's counters.
func (g *Group) Stats() (Stats, error) { return Stats{}, errYet }

// Remove removes the group with its sub-groups, waiting for leaving tasks.
func (g *Group) Remove() error { return errYet }
