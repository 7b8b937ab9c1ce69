package runtime

import (
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
)

// Program is a program of the host that is started where a container's process would be,
// with its streams or terminal, to stand for one that another runtime runs.
type Program struct {
	Args, Env []string // Args[0] is its path
	// Terminal makes a terminal of the host, its controlling one and its streams.
	Terminal bool
	Size     *specs.Box
	// Mounts are detached mounts to be attached, in this order, in a mount namespace of
	// the program's own. nil: it is in the caller's.
	Mounts []ProgramMount
	// Report is the program's descriptor 3.
	Report *os.File
}

// ProgramMount is a detached mount and the path where it shall be. It stays the caller's,
// and can be used once.
type ProgramMount struct {
	File *os.File
	At   string
}

// PrepareProgram makes a program of the host ready to be started.
func (r *Runtime) PrepareProgram(g Program) (*Prepared, error) {
	p := &Prepared{}
	tty, err := p.hostTerminal(&g)
	if err == nil {
		p.Plan, err = r.programScript(&g, tty).Seal()
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("cannot prepare %s: %w", g.Args[0], err)
	}
	p.files.Add(func() { p.Plan.Close() })
	return p, nil
}

func (p *Prepared) hostTerminal(g *Program) (*os.File, error) {
	if !g.Terminal {
		return nil, nil
	}
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make terminal: open /dev/ptmx: %w", err)
	}
	p.Console = os.NewFile(uintptr(fd), "ptmx")
	p.files.Add(func() { p.Console.Close() })
	tty, err := openPeer(p.Console, g.Size)
	if err == nil {
		p.files.Add(func() { tty.Close() })
	}
	return tty, err
}

func (r *Runtime) programScript(g *Program, tty *os.File) *spawn.Script {
	s := spawn.New()
	proc := process{terminal: g.Terminal}
	if g.Mounts != nil {
		s.SetClone(spawn.Clone{Flags: unix.CLONE_NEWNS})
	}
	proc.session(s)
	if g.Mounts != nil {
		s.Call("make private", "mounts", unix.SYS_MOUNT, spawn.Int(0), s.Str("/"), spawn.Int(0), spawn.Uint(unix.MS_REC|unix.MS_SLAVE), spawn.Int(0))
	}
	for _, m := range g.Mounts {
		s.Call("mount", m.At, unix.SYS_MOVE_MOUNT, s.File(m.File), s.Str(""), atCWD, s.Str(m.At), spawn.Uint(unix.MOVE_MOUNT_F_EMPTY_PATH))
	}
	proc.connect(s, r.stdio(s, true, [3]*os.File{}, tty))
	s.Begin()
	// The files above are done with: 3 may be one of their numbers, or Report's.
	s.Call("connect", "report", unix.SYS_DUP3, s.File(g.Report), spawn.Int(3), spawn.Int(0)).Ignore(unix.EINVAL)
	s.Call("keep", "report", unix.SYS_FCNTL, spawn.Int(3), spawn.Int(unix.F_SETFD), spawn.Int(0))
	s.Call("mark", "descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(4), spawn.Uint(1<<32-1), spawn.Int(unix.CLOSE_RANGE_CLOEXEC))
	s.Call("set", "umask", unix.SYS_UMASK, spawn.Int(0o022))
	s.Call("set", "signal mask", unix.SYS_RT_SIGPROCMASK, spawn.Int(unix.SIG_SETMASK), s.Words(spawn.Int(0)), spawn.Int(0), spawn.Int(8))
	s.Call("execute", g.Args[0], unix.SYS_EXECVE, s.Str(g.Args[0]), s.Strings(g.Args), s.Strings(g.Env))
	return s
}

// AddInit makes a specification that another runtime runs begin with the static init of
// Config, as Container.Init does for this one.
func (r *Runtime) AddInit(s *specs.Spec) error {
	if r.initPath == "" {
		return errNoInit
	}
	s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: r.initPath, Destination: initPath, Options: []string{"bind", "ro"}})
	s.Process.Args = append([]string{initPath, "--"}, s.Process.Args...)
	return nil
}
