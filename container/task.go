package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/keeper"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/linux/mount"
	"hoy/linux/pidfd"
	"hoy/runtime"
	"hoy/shim"
)

// A task is a process that another runtime runs. The keeper holds hoy-shim in its place,
// which has its streams and ends as it does, so that logs, waits, exits, restarts and
// adoption are as for hoy's own; what else is done to it, the runtime does (package shim).
type task struct {
	id      string // of the container
	program shim.Program
	bundle  shim.Bundle
	standin int        // pid of hoy-shim; 0: not yet
	how     *shim.Task // of a start

	report, theirs *os.File // of a start: where hoy-shim tells how it went, and its end of that
}

func (c *Containers) tasksDir() string { return filepath.Join(c.o.ExecRoot, "tasks") }

func (c *Containers) taskOf(id string) *task {
	return &task{id: id, program: c.o.Shim, bundle: shim.Bundle(filepath.Join(c.tasksDir(), id))}
}

// newTask says how a container is run that hoy does not run itself; nil: it does.
func (c *Containers) newTask(rec *record) (*task, error) {
	if shim.Own(rec.Host.Runtime) {
		return nil, nil
	}
	for _, a := range []string{"io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"} {
		if _, given := rec.Host.Annotations[a]; given {
			return nil, fault.New(fault.NotImplemented, "the annotation %s puts several containers into one shim, of which each has its own here", a)
		}
	}
	t := c.taskOf(rec.ID)
	if _, err := os.Stat(string(c.o.Shim)); err != nil {
		return nil, fmt.Errorf("cannot run containers by other runtimes: %w", err)
	}
	how, err := c.host().Runtimes.Find(rec.Host.Runtime, filepath.Join(c.o.ExecRoot, "runtime"))
	if err != nil {
		return nil, err
	}
	how.ID, how.Terminal, how.Stdin = rec.ID, rec.Config.Tty, rec.Config.OpenStdin
	t.how = how
	return t, nil
}

// adoptTask is the task of a container that runs.
func (c *Containers) adoptTask(id string, standin int) *task {
	t := c.taskOf(id)
	t.standin = standin
	return t
}

// endTask removes what is left of a container of another runtime whose stand-in has ended.
func (c *Containers) endTask(id string) {
	t := c.taskOf(id)
	if !t.bundle.There() {
		return
	}
	if err := t.program.Clean(t.bundle); err != nil {
		c.log.Warn("cannot remove what a runtime has left of a container", "container", id, "error", err)
	}
}

// prepareTask makes the bundle and the plan of the stand-in.
func (l *launch) prepareTask(netns *os.File) error {
	c, t := l.c, l.task
	c.endTask(l.k.id) // of a start that was cut short
	if spec.UsesInit(l.rec.Host, c.host()) {
		if err := c.o.Runtime.AddInit(l.spec); err != nil {
			return err
		}
	}
	l.spec.Root.Path = "rootfs"
	l.spec.Version = "1.0.2" // crun up to 1.8 refuses a newer one, whatever is in it
	mounts, err := l.taskMounts(netns)
	if err != nil {
		return err
	}
	l.undo.Add(func() { c.endTask(l.k.id) })
	if err := t.bundle.Make(t.how, l.spec); err != nil {
		return fmt.Errorf("cannot make a bundle for the runtime: %w", err)
	}
	for _, m := range mounts {
		if err := placeFor(m); err != nil {
			return err
		}
	}
	if l.prepared, err = t.prepare(c.o.Runtime, l.spec.Process, mounts, "run", string(t.bundle)); err != nil {
		return err
	}
	l.files.Add(l.prepared.Close)
	l.prepared.Cgroup = c.o.Cgroups.Load(l.state.Cgroup)
	l.files.Add(t.forgetReport)
	l.state.Task = true
	return nil
}

// prepare makes the plan of a stand-in.
func (t *task) prepare(r Runtime, p *specs.Process, mounts []runtime.ProgramMount, args ...string) (*runtime.Prepared, error) {
	var err error
	if t.report, t.theirs, err = os.Pipe(); err != nil {
		return nil, err
	}
	prepared, err := r.PrepareProgram(runtime.Program{
		Args: append([]string{string(t.program)}, args...), Env: os.Environ(),
		Terminal: p.Terminal, Size: p.ConsoleSize, Mounts: mounts, Report: t.theirs,
	})
	if err != nil {
		t.forgetReport()
	}
	return prepared, err
}

func (t *task) forgetReport() {
	t.report.Close()
	t.theirs.Close()
}

// startPatience is how long a runtime may take for a start, of a virtual machine too.
const startPatience = 2 * time.Minute

// await waits until the runtime has started the process, and returns it as the engine
// has it: by its own pid. spawned is why there is no stand-in.
func (t *task) await(p *keeper.Process, spawned error) (*keeper.Process, error) {
	if spawned != nil {
		return nil, spawned
	}
	t.theirs.Close() // or its end would not be the end
	t.report.SetReadDeadline(time.Now().Add(startPatience))
	data, err := io.ReadAll(t.report)
	var r shim.Report
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fault.New(fault.Unavailable, "the runtime has not started the process within %s", startPatience)
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, errors.New("the runtime's shim ended before it could say how the start went")
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, &taskError{r.Error}
	}
	t.standin = p.Pid
	own := *p
	own.Pid = r.Pid
	return &own, nil
}

// taskError is a runtime's refusal to start a process.
type taskError struct{ text string }

func (e *taskError) Error() string { return e.text }

func (e *taskError) code() int { return shim.ExitCode(e.text) }

// taskMounts are the mounts that the stand-in has to itself: the root file system, the
// namespaces that are joined, and what the specification's binds show that no path names
// as it shall be. It changes the specification to name them by path.
func (l *launch) taskMounts(netns *os.File) ([]runtime.ProgramMount, error) {
	b := l.task.bundle
	list := []runtime.ProgramMount{{File: l.root, At: b.Path("rootfs")}}
	for _, n := range []struct {
		ns   *os.File
		kind specs.LinuxNamespaceType
		at   string
	}{{netns, specs.NetworkNamespace, b.Path("netns")}, {l.userNS(), specs.UserNamespace, b.Path("userns")}} {
		if n.ns == nil {
			continue
		}
		f, err := mount.BindFile(n.ns, false)
		if err != nil {
			return nil, err
		}
		l.files.Add(func() { f.Close() })
		list = append(list, runtime.ProgramMount{File: f, At: n.at})
		l.joinByPath(n.kind, n.at)
	}
	for i := range l.spec.Mounts {
		m := &l.spec.Mounts[i]
		f, err := l.taskSource(m)
		if err != nil {
			return nil, fmt.Errorf("cannot mount %s: %w", m.Destination, err)
		}
		if f != nil {
			m.Source = b.Path("mounts/" + strconv.Itoa(i))
			list = append(list, runtime.ProgramMount{File: f, At: m.Source})
		}
	}
	return list, nil
}

// joinByPath lets the specification name a namespace that is joined.
func (l *launch) joinByPath(kind specs.LinuxNamespaceType, path string) {
	for i := range l.spec.Linux.Namespaces {
		if n := &l.spec.Linux.Namespaces[i]; n.Type == kind {
			n.Path = path
			return
		}
	}
	l.spec.Linux.Namespaces = append(l.spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
}

// taskSource is what a bind shows, where that is no path of the host: a part of a volume,
// an image, files by other owners. A shared one is the host's own mount, since what the
// stand-in's mount namespace has copied of it passes nothing on to the host. nil: it is a
// path.
func (l *launch) taskSource(m *specs.Mount) (*os.File, error) {
	f := l.sources[m.Destination]
	mapped := slices.Contains(m.Options, "idmap") || len(m.UIDMappings) > 0
	shared := slices.Contains(m.Options, "shared") || slices.Contains(m.Options, "rshared")
	if m.Type != "bind" || f == nil && !mapped && !shared {
		return f, nil
	}
	if f == nil {
		var err error
		if f, err = mount.Bind(m.Source, slices.Contains(m.Options, "rbind")); err != nil {
			return nil, err
		}
		l.files.Add(func() { f.Close() })
	}
	if !mapped {
		return f, nil
	}
	userns := l.userNS()
	if len(m.UIDMappings) > 0 {
		var err error
		if userns, err = idmap.New(&idmap.Map{UIDs: spec.Ranges(m.UIDMappings), GIDs: spec.Ranges(m.GIDMappings)}); err != nil {
			return nil, err
		}
		defer userns.Close()
	}
	m.UIDMappings, m.GIDMappings = nil, nil
	m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "idmap" })
	return f, mount.SetAttr(f, true, 0, 0, 0, userns)
}

// placeFor makes what a mount is put on.
func placeFor(m runtime.ProgramMount) error {
	st, err := m.File.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		err = os.Mkdir(m.At, 0o711)
	} else {
		err = os.WriteFile(m.At, nil, 0o600)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// prepareTaskExec makes the plan of an exec's stand-in.
func (c *Containers) prepareTaskExec(x *exec, p *process, process *specs.Process) (*runtime.Prepared, error) {
	t := *p.task
	name := shim.ExecFile(x.id)
	err := t.bundle.Write(name, shim.Process{Spec: process, Terminal: process.Terminal, Stdin: x.config.AttachStdin})
	if err != nil {
		return nil, err
	}
	prepared, err := t.prepare(c.o.Runtime, process, nil, "exec", string(t.bundle), x.id)
	if err != nil {
		os.Remove(t.bundle.Path(name))
		return nil, err
	}
	x.mu.Lock()
	x.task = &t
	x.mu.Unlock()
	return prepared, nil
}

func (t *task) killExec(id string) { t.program.Kill(t.bundle, unix.SIGKILL, id) }

// update sets limits, if there are any: not every runtime can.
func (t *task) update(limits *specs.LinuxResources) error {
	if limits.Memory == nil && limits.CPU == nil && limits.Pids == nil && limits.BlockIO == nil {
		return nil
	}
	return t.program.Update(t.bundle, limits)
}

// oom tells whether the runtime has told of a kill for lack of memory.
func (t *task) oom() bool { return t.bundle.Has("oom") }

// signal sends a signal to the process.
func (p *process) signal(number unix.Signal) error {
	if p.task == nil {
		return pidfd.Signal(p.Pidfd, number)
	}
	err := p.task.program.Kill(p.task.bundle, number, "")
	if errors.Is(err, shim.ErrGone) {
		return unix.ESRCH
	}
	return err
}

func (p *process) freeze() error {
	if p.task == nil {
		return p.cgroup.Freeze()
	}
	// Not every runtime does it by the cgroup, where the next engine would see it.
	if err := p.task.bundle.Write("paused", true); err != nil {
		return err
	}
	return p.task.program.Pause(p.task.bundle)
}

// frozen tells whether the processes are: an engine that adopts them asks.
func (p *process) frozen() (bool, error) {
	frozen, err := p.cgroup.Frozen()
	if p.task == nil || frozen || !p.task.bundle.Has("paused") {
		return frozen, err
	}
	return p.task.program.Paused(p.task.bundle)
}

func (p *process) thaw() error {
	if p.task == nil {
		return p.cgroup.Thaw()
	}
	err := p.task.program.Resume(p.task.bundle)
	if errors.Is(err, shim.ErrGone) {
		err = nil
	}
	if err == nil {
		os.Remove(p.task.bundle.Path("paused"))
	}
	return err
}

// rootPath is where the root file system is in the mount namespace of Pidfd's process.
func (p *process) rootPath() string {
	if p.task == nil {
		return "/"
	}
	return p.task.bundle.Path("rootfs")
}

// openRoot opens the container's root directory.
func (p *process) openRoot() (*os.File, error) {
	pid := p.Pid
	if p.task != nil {
		pid = p.task.standin
	}
	f, err := os.OpenFile(filepath.Join("/proc", strconv.Itoa(pid), "root")+p.rootPath(), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the container's root: %w", err)
	}
	return f, nil
}

// netNS opens the network namespace: of another runtime's container the one that it was
// given, whatever its process is in.
func (p *process) netNS() (*os.File, error) {
	if p.task != nil && p.task.bundle.Has("netns") {
		return os.Open(filepath.Join("/proc", strconv.Itoa(p.task.standin), "root") + p.task.bundle.Path("netns"))
	}
	return os.Open(nsPath(p.Pid, "net"))
}
