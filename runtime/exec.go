package runtime

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/linux/cgroup"
	"hoy/linux/spawn"
)

// Exec is a process to be started in a running container.
type Exec struct {
	// Pidfd and Pid are a process of the container, whose namespaces are entered.
	Pidfd  *os.File
	Pid    int
	Cgroup *cgroup.Group // of the container; nil: none is joined
	// Process is the program. Terminal makes a terminal in the container's devpts.
	Process *specs.Process
	Seccomp *specs.LinuxSeccomp
	// Stdio and Streams are as in Container.
	Stdio   bool
	Streams [3]*os.File
	// IDs are the id maps of the container's user namespace; nil: it has none.
	IDs *specs.Linux
	// ContainerCaps are the capabilities that processes of the container may hold,
	// and SharedPID says that others than the container's are in its PID namespace:
	// who may trace the child before its exec decides where it is born.
	ContainerCaps []string
	SharedPID     bool
}

// userNamespace reports whether the container has a user namespace of its own.
func (e *Exec) userNamespace() bool { return e.IDs != nil && len(e.IDs.UIDMappings) > 0 }

// enter are the namespaces that an exec joins besides PID, which it is born into.
// Those that the container shares with the host are joined to no effect.
const enter = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// PrepareExec makes a process ready to be started in a running container.
func (r *Runtime) PrepareExec(e Exec) (*Prepared, error) {
	if err := checkProcess(e.Process); err != nil {
		return nil, err
	}
	p := &Prepared{}
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(p.Close)
	proc, err := r.newProcess(e.Process, e.Seccomp)
	if err != nil {
		return nil, err
	}
	p.failure = explainer{process: &proc, pid: e.Pid}
	if err := p.stdioOwner(&e); err != nil {
		return nil, err
	}
	tty, err := p.execTerminal(&e)
	if err != nil {
		return nil, err
	}
	s, err := r.execScript(&e, p, &proc, tty)
	if err != nil {
		return nil, err
	}
	if p.Plan, err = s.Seal(); err != nil {
		return nil, fmt.Errorf("cannot finish the spawn plan: %w", err)
	}
	p.files.Add(func() { p.Plan.Close() })
	undo.Release()
	return p, nil
}

func (p *Prepared) stdioOwner(e *Exec) error {
	var o owner
	var err error
	if e.userNamespace() {
		if o, err = newOwner(e.IDs, e.Pidfd); err != nil {
			return err
		}
	}
	if p.StdioUID, err = o.uid(e.Process.User.UID); err != nil {
		return err
	}
	p.StdioGID, err = o.gid(e.Process.User.GID)
	return err
}

// execTerminal opens a terminal in the container; nil when none is asked for.
func (p *Prepared) execTerminal(e *Exec) (*os.File, error) {
	if !e.Process.Terminal {
		return nil, nil
	}
	root, err := rootOf(e.Pid)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if p.Console, err = openTerminalOf(root); err != nil {
		return nil, err
	}
	p.files.Add(func() { p.Console.Close() })
	tty, err := openPeer(p.Console, e.Process.ConsoleSize)
	if err != nil {
		return nil, err
	}
	p.files.Add(func() { tty.Close() })
	if err := unix.Fchown(int(tty.Fd()), p.StdioUID, -1); err != nil {
		return nil, fmt.Errorf("cannot give the terminal to the user: fchown: %w", err)
	}
	return tty, nil
}

// rootOf opens the root directory of a process.
func rootOf(pid int) (*os.File, error) {
	f, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the container's root directory: %w", err)
	}
	return f, nil
}

func (r *Runtime) execScript(e *Exec, p *Prepared, proc *process, tty *os.File) (*spawn.Script, error) {
	s := spawn.New()
	proc.exposed = e.SharedPID || slices.Contains(e.ContainerCaps, "CAP_SYS_PTRACE")
	clone := spawn.Clone{PIDOf: e.Pidfd, Exposed: proc.exposed}
	if e.Cgroup != nil {
		group, err := r.cgroups.Load(e.Cgroup.Path()).Beside(e.Pid) // descriptors of our own, to be closed
		if err != nil {
			return nil, err
		}
		p.files.Add(func() { group.Close() })
		tasks, err := group.Tasks()
		if err != nil {
			return nil, err
		}
		joinCgroups(s, tasks)
		clone.Cgroup = group.CloneInto()
	}
	s.SetClone(clone)
	proc.limits(s)
	proc.labels(s)
	proc.session(s)
	// As the host's root the child may join any namespace; as the container's, only
	// those that its user namespace owns, so that comes last.
	s.Call("join", "namespaces", unix.SYS_SETNS, s.File(e.Pidfd), spawn.Uint(enter))
	if e.userNamespace() {
		s.Call("join", "user namespace", unix.SYS_SETNS, s.File(e.Pidfd), spawn.Uint(unix.CLONE_NEWUSER))
		s.Call("become", "root of the user namespace", unix.SYS_SETRESGID, spawn.Int(0), spawn.Int(0), spawn.Int(0))
		s.Call("become", "root of the user namespace", unix.SYS_SETRESUID, spawn.Int(0), spawn.Int(0), spawn.Int(0))
	}
	proc.connect(s, r.stdio(s, e.Stdio, e.Streams, tty))
	proc.finish(s)
	return s, nil
}
