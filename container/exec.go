package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/keeper"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/runtime"
)

// exec is a further process in a running container. It is started once.
type exec struct {
	id         string
	container  *Container
	generation uint64 // of the container: an exec belongs to one run
	config     apicontainer.ExecCreateRequest
	keys       []byte // to detach
	task       *task  // of another runtime's container, once it is started
	probe      bool   // of a health check: forgotten at its end, unknown to the next engine

	mu      sync.Mutex
	started bool
	begun   chan struct{}   // closed when the start is through
	process *keeper.Process // while it runs
	code    *int            // once it has ended
	done    chan struct{}   // closed when it has
}

// execRecord is an exec in the exec root, so that the next engine knows its exit.
type execRecord struct {
	Version    int                            `json:"version"`
	ID         string                         `json:"id"`
	Container  string                         `json:"container"`
	Generation uint64                         `json:"generation"`
	Config     apicontainer.ExecCreateRequest `json:"config"`
	ExitCode   *int                           `json:"exitCode,omitempty"`
	Pid        int                            `json:"pid,omitempty"` // of another runtime's process, for which the keeper holds hoy-shim
}

// execMemory is how long an ended exec can be inspected.
const execMemory = 5 * time.Minute

// execPaused is docker's refusal: a process born into a frozen cgroup never begins.
const execPaused = "Container %s is paused, unpause the container before exec"

func (x *exec) ended() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.code != nil
}

func (x *exec) record() execRecord {
	return execRecord{Version: recordVersion, ID: x.id, Container: x.container.id, Generation: x.generation, Config: x.config, ExitCode: x.code}
}

// ExecCreate prepares an exec and returns its id.
func (c *Containers) ExecCreate(ctx context.Context, ref string, r apicontainer.ExecCreateRequest) (string, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return "", err
	}
	p, err := k.running()
	if err == nil {
		err = k.unpaused(execPaused, ref)
	}
	if err != nil {
		return "", err
	}
	if len(r.Cmd) == 0 || r.Cmd[0] == "" {
		return "", fault.New(fault.Invalid, "No exec command specified")
	}
	for _, e := range r.Env {
		if e == "" || strings.HasPrefix(e, "=") || strings.ContainsRune(e, 0) {
			return "", fault.New(fault.Invalid, "invalid environment variable: %q", e)
		}
	}
	if r.WorkingDir != "" && !strings.HasPrefix(r.WorkingDir, "/") {
		return "", fault.New(fault.Invalid, "the working directory '%s' is invalid, it needs to be an absolute path", r.WorkingDir)
	}
	keys, err := detachKeys(r.DetachKeys)
	if err != nil {
		return "", err
	}
	if _, _, err := execUser(k, p, r.User); err != nil {
		return "", fault.New(fault.Invalid, "%w", err)
	}
	x := &exec{id: newID(), container: k, generation: p.Generation, config: r, keys: keys, done: make(chan struct{})}
	c.index.addExec(x)
	time.AfterFunc(execMemory, func() { c.forgetIdle(x) })
	c.event(k, events.Action("exec_create: "+strings.Join(r.Cmd, " ")), "execID", x.id)
	return x.id, nil
}

// ExecStart starts an exec. With a client, the answer has been sent when the
// process begins, so that a failure to start goes to the client's stream and the
// exit code (126 or 127), as docker does it.
func (c *Containers) ExecStart(ctx context.Context, id string, o ExecStartOptions, hijack Hijack) error {
	x, err := c.index.exec(id)
	if err != nil {
		return err
	}
	p, err := x.begin()
	if err != nil {
		return err
	}
	defer close(x.begun)
	ctx = context.WithoutCancel(ctx)
	if o.Detach {
		return c.execStart(ctx, x, p, o, nil)
	}
	// Whether the stream has frames is up to who reads it.
	s, err := hijack(o.TTY)
	if err != nil {
		c.execFailed(x, 126)
		return err
	}
	mux := !o.TTY && !s.Raw
	a, err := s.attachment()
	if err != nil {
		c.execFailed(x, 126)
		return err
	}
	a.Stdin, a.Stdout, a.Stderr = x.config.AttachStdin, x.config.AttachStdout, x.config.AttachStderr
	a.Mux, a.DetachKeys = mux, x.keys
	if err := c.execStart(ctx, x, p, o, []keeper.Attachment{a}); err != nil {
		headRead(a.Conn)
		rest := &Stream{File: a.Conn}
		rest.Write(frame(mux, 1, []byte(err.Error()+"\r\n"))) // as docker: on standard output
		go rest.finish()
	}
	return nil
}

// begin marks the exec started, or says why it cannot be.
func (x *exec) begin() (*process, error) {
	p, err := x.container.running()
	if err == nil {
		err = x.container.unpaused(execPaused, x.container.id)
	}
	if err != nil {
		return nil, err
	}
	if p.Generation != x.generation {
		return nil, fault.New(fault.Conflict, "container %s has been restarted since the exec was created", x.container.id)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.code != nil:
		return nil, fault.New(fault.Conflict, "exec command %s has already run", x.id)
	case x.started:
		return nil, fault.New(fault.Conflict, "Error: Exec command %s is already running", x.id)
	}
	x.started, x.begun = true, make(chan struct{})
	return p, nil
}

func (c *Containers) execStart(ctx context.Context, x *exec, p *process, o ExecStartOptions, clients []keeper.Attachment) error {
	k := x.container
	c.event(k, events.Action("exec_start: "+strings.Join(x.config.Cmd, " ")), "execID", x.id)
	made, err := c.spawnExec(ctx, x, p, o, clients)
	if err != nil {
		code, err := execError(err)
		c.execFailed(x, code)
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.code != nil {
		return nil
	}
	x.process = made
	if x.task != nil && !x.probe {
		r := x.record()
		r.Pid = made.Pid
		if err := writeJSON(c.execPath(x.id), r); err != nil {
			c.log.Warn("cannot save exec", "exec", x.id, "error", err)
		}
	}
	return nil
}

// sharesPID tells whether others than the container's processes may be in its PID
// namespace: those of containers that join it, running or not, count too.
func (c *Containers) sharesPID(k *Container) bool {
	if !k.rec().Host.PidMode.IsPrivate() {
		return true
	}
	for _, other := range c.index.all() {
		if mode := other.rec().Host.PidMode; mode.IsContainer() {
			if joined, err := c.index.get(mode.Container()); err != nil || joined == k {
				return true
			}
		}
	}
	return false
}

func (c *Containers) spawnExec(ctx context.Context, x *exec, p *process, o ExecStartOptions, clients []keeper.Attachment) (*keeper.Process, error) {
	s, err := c.specOf(x.container, p)
	if err != nil {
		return nil, err
	}
	process, err := c.execProcess(x, p, s, o)
	if err != nil {
		return nil, err
	}
	prepared, err := c.prepareExec(x, p, s, process)
	if err != nil {
		return nil, err
	}
	defer prepared.Close()
	if x.task != nil {
		defer x.task.forgetReport()
	}
	if err := failpoint.Hit(failpoint.ContainerExecPrepared); err != nil {
		return nil, err
	}
	if !x.probe {
		if err := writeJSON(c.execPath(x.id), x.record()); err != nil {
			return nil, err
		}
	}
	for _, client := range clients {
		headRead(client.Conn)
	}
	made, err := c.o.Keeper.Spawn(ctx, keeper.SpawnRequest{
		ID: x.id, Generation: 1, Plan: prepared.Plan, Console: prepared.Console,
		OpenStdin: x.config.AttachStdin, StdinOnce: true, Attach: clients,
	})
	if err != nil {
		err = prepared.Explain(err)
	}
	if x.task != nil {
		made, err = x.task.await(made, err)
	}
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (c *Containers) prepareExec(x *exec, p *process, s *specs.Spec, process *specs.Process) (*runtime.Prepared, error) {
	if p.task != nil {
		return c.prepareTaskExec(x, p, process)
	}
	return c.o.Runtime.PrepareExec(runtime.Exec{
		Pidfd: p.Pidfd, Pid: p.Pid, Cgroup: p.cgroup, Process: process, Seccomp: s.Linux.Seccomp,
		Stdio: !process.Terminal, IDs: ids(s), ContainerCaps: s.Process.Capabilities.Bounding, SharedPID: c.sharesPID(x.container),
	})
}

// execProcess resolves the exec's user in the container's files.
func (c *Containers) execProcess(x *exec, p *process, s *specs.Spec, o ExecStartOptions) (*specs.Process, error) {
	r := spec.ExecRequest{Config: x.container.rec().Config, Args: x.config.Cmd, Env: x.config.Env, Cwd: x.config.WorkingDir, Terminal: x.config.Tty, Privileged: x.config.Privileged}
	var err error
	if r.User, r.Home, err = execUser(x.container, p, x.config.User); err != nil {
		return nil, err
	}
	process, err := spec.ExecProcess(s, r)
	if err != nil {
		return nil, err
	}
	size := x.config.ConsoleSize
	if o.ConsoleSize != nil {
		size = o.ConsoleSize
	}
	if process.Terminal && size != nil {
		process.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	return process, nil
}

// execUser finds an exec's user in the container's files; nil: the container's own.
func execUser(k *Container, p *process, name string) (*specs.User, string, error) {
	if name == "" {
		return nil, "", nil
	}
	root, err := p.openRoot()
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	user, home, err := runtime.LookupUser(root, name, k.rec().Host.GroupAdd)
	if err != nil {
		return nil, "", err
	}
	return &user, home, nil
}

// specOf returns the parts of the container's specification that an exec needs:
// what the start left, or after an adoption made once more.
func (c *Containers) specOf(k *Container, p *process) (*specs.Spec, error) {
	if s := p.spec.Load(); s != nil {
		return s, nil
	}
	rec := k.rec()
	root, err := p.openRoot()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	in := c.input(rec)
	if in.User, in.Home, err = runtime.LookupUser(root, rec.Config.User, rec.Host.GroupAdd); err != nil {
		return nil, err
	}
	s, err := spec.Build(in)
	if err != nil {
		return nil, err
	}
	c.mapIDs(s, rec)
	p.keepSpec(s)
	return p.spec.Load(), nil
}

// ids returns the maps of the container's user namespace, nil when it has none.
func ids(s *specs.Spec) *specs.Linux {
	if len(s.Linux.UIDMappings) == 0 {
		return nil
	}
	return s.Linux
}

// keepSpec remembers what an exec needs of the specification.
func (p *process) keepSpec(s *specs.Spec) {
	p.spec.Store(&specs.Spec{Process: s.Process, Linux: &specs.Linux{
		Seccomp: s.Linux.Seccomp, UIDMappings: s.Linux.UIDMappings, GIDMappings: s.Linux.GIDMappings,
	}})
}

func (c *Containers) execFailed(x *exec, code int) {
	x.mu.Lock()
	if x.code != nil { // what stood for it has ended, and was heard of
		x.mu.Unlock()
		return
	}
	c.endLocked(x, code)
	x.mu.Unlock()
	os.Remove(c.execPath(x.id))
	c.event(x.container, events.ActionExecDie, "execID", x.id, "exitCode", fmt.Sprint(code))
}

// execExited records the exit of an exec.
func (c *Containers) execExited(x *exec, e keeper.Exit) {
	x.mu.Lock()
	if x.code != nil {
		x.mu.Unlock()
		return
	}
	c.endLocked(x, e.Code)
	r := x.record()
	x.mu.Unlock()
	c.event(x.container, events.ActionExecDie, "execID", x.id, "exitCode", fmt.Sprint(e.Code))
	if x.probe {
		c.index.removeExec(x.id)
		return
	}
	if err := writeJSON(c.execPath(x.id), r); err != nil {
		c.log.Warn("cannot save exec", "exec", x.id, "error", err)
	}
}

// execError puts a failure to start into docker's words.
func execError(err error) (code int, _ error) {
	const text = "OCI runtime exec failed: exec failed: unable to start container process: "
	code = 126
	if e, ok := errors.AsType[*taskError](err); ok {
		code = min(e.code(), 127)
		return code, fault.New(fault.Invalid, "%w", codeWords(err, code)) // the runtime has words of its own
	} else if e, ok := errors.AsType[*runtime.ExecError](err); ok {
		code = e.Code
	} else if errors.Is(err, unix.ENOENT) {
		code = 127
	} else if k := fault.KindOf(err); k != fault.Internal {
		return code, fault.New(k, text+"%w", err)
	}
	return code, fault.New(fault.Invalid, text+"%w", codeWords(err, code))
}
