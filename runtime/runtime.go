// Package runtime turns an OCI runtime spec into a spawn plan: it makes ready, as
// descriptors, everything the container consists of, and writes the list of system
// calls that puts a process into it.
package runtime

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/cleanup"
	"hoy/linux/caps"
	"hoy/linux/cgroup"
	"hoy/linux/spawn"
)

// Config is what a Runtime needs from its owner.
type Config struct {
	Cgroups  *cgroup.Host
	InitPath string // static init program that Container.Init asks for; "" = none
}

// A Runtime prepares containers.
//
// The caller makes the root file system a detached mount and hands it over with the
// spec. Prepare opens and makes everything that can be made outside, and returns a
// plan, which whoever shall be the parent of the container runs (package spawn):
//
//	p, err := rt.Prepare(runtime.Container{ID: id, Spec: spec, Root: root, Stdio: true})
//	if err != nil { … }
//	defer p.Close()
//	child, err := start(p.Plan, p.Console)
//	if err != nil {
//		p.Abort()
//		return p.Explain(err)
//	}
//
// A process in a running container is the same with PrepareExec. A Runtime holds no
// state of containers and is safe for concurrent use.
type Runtime struct {
	cgroups  *cgroup.Host
	initPath string
	null     *os.File // the host's /dev/null, O_PATH, seen to be 1:3
	nullFile *os.File // the same opened, for descriptors 0 to 2
	held     caps.Set // what this process may give away
	lastCap  int
	oomScore int // this process's own, which children inherit
	security security
	groups   []hierarchy
	kcore    bool // the kernel has /proc/kcore
	filters  filters
}

// Container is what Prepare prepares.
type Container struct {
	ID string
	// Spec is the OCI runtime spec. Root.Path is not used. Namespaces listed without
	// a path are new, with a path are joined, absent ones are the host's.
	Spec *specs.Spec
	// Root is the root file system: a detached mount, or a directory opened with
	// O_PATH that is not itself a mount point. It stays the caller's, and must be
	// open until Explain is no longer needed.
	Root *os.File
	// UserNS and NetNS are a pooled pair, and win over the spec's entries. With a
	// user namespace, Spec.Linux.UIDMappings and GIDMappings must tell its maps.
	UserNS, NetNS *os.File
	// Sources are detached mounts that take the place of the source paths of the spec's
	// binds, by destination. They stay the caller's, and can be used once.
	Sources map[string]*os.File
	// Stdio says that descriptors 0 to 2 are those given to the one who runs the plan.
	// Without it, and without Process.Terminal, they are Streams, of which a nil one is
	// /dev/null. Who may open them again under /dev is for their owner to see to.
	Stdio   bool
	Streams [3]*os.File
	// Init runs the static init of Config as process 1, which runs the program.
	Init bool
}

// Prepared is a process about to be started.
type Prepared struct {
	Plan    *spawn.Plan
	Console *os.File      // pty master; nil without terminal
	Cgroup  *cgroup.Group // of the container; nil for an exec
	// StdioUID and StdioGID are the host's ids of the process's user: whoever makes
	// the FIFOs for descriptors 0 to 2 gives them to it, so that /dev/stdout can be
	// opened by a user who is not root.
	StdioUID, StdioGID int

	files   cleanup.Stack // what Close closes
	failure explainer
}

// Close closes the descriptors. It is called after the spawn, in every case.
func (p *Prepared) Close() { p.files.Run() }

// Abort undoes what Prepare made outside of this process, the cgroup, when the spawn
// failed.
func (p *Prepared) Abort() {
	if p.Cgroup != nil {
		p.Cgroup.Remove()
	}
}
