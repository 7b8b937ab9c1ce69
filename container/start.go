package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/keeper"
	"hoy/lib/cleanup"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/lib/filelimit"
	"hoy/network"
	"hoy/runtime"
)

// Start starts a container that does not run.
func (c *Containers) Start(ctx context.Context, ref string) error {
	k, err := c.claim(ctx, ref)
	if err != nil {
		return err
	}
	defer k.op.unlock()
	if err := c.startable(k); err != nil {
		return err
	}
	k.mu.Lock()
	k.forgetRestarts()
	k.mu.Unlock()
	// A client that goes away does not leave a half-started container.
	return c.startHeld(context.WithoutCancel(ctx), k)
}

// startHeld is Start with the operation lock held.
func (c *Containers) startHeld(ctx context.Context, k *Container) error {
	k.attaching.Lock()
	clients := k.takePending()
	k.attaching.Unlock()
	if err := c.start(ctx, k, clients); err != nil {
		closeAttachments(clients)
		return c.startFailed(k, err)
	}
	c.mountEvents(k, events.ActionMount)
	c.networkEvents(k, events.ActionConnect, k.rec().State.endpoints())
	c.event(k, events.ActionStart)
	return nil
}

func (c *Containers) startable(k *Container) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case c.supervisor.over():
		return fault.New(fault.Unavailable, "the engine is ending")
	case k.removing || c.index.gone(k) || k.rec().State.Status == apicontainer.StateDead:
		return fault.New(fault.Conflict, "container is marked for removal and cannot be started")
	case k.process != nil && k.rec().isPaused():
		return fault.New(fault.Conflict, "cannot start a paused container, try unpause instead")
	case k.process != nil, k.comeback != nil:
		return fault.New(fault.NotModified, "container is already running")
	}
	return nil
}

// launch is a start under way.
type launch struct {
	c        *Containers
	k        *Container
	rec      *record
	state    *running
	sandbox  *network.Sandbox // nil: another container's network
	root     *os.File
	shared   sharedNamespaces
	sources  map[string]*os.File // detached mounts, by the destination that they are for
	spec     *specs.Spec
	prepared *runtime.Prepared
	task     *task         // of another runtime's container
	undo     cleanup.Stack // on failure
	files    cleanup.Stack // in every case
}

// start brings the container's first process into being and records that.
func (c *Containers) start(ctx context.Context, k *Container, clients []keeper.Attachment) (err error) {
	l := &launch{c: c, k: k, rec: k.rec()}
	unpinned := make(chan struct{})
	defer func() {
		l.undo.Run()
		err = filelimit.Explain("the engine", err)
		if err != nil {
			l.files.Run()
			return
		}
		// Behind the answer: to close mounts waits for the kernel's readers.
		c.later(func() { l.files.Run(); close(unpinned) })
	}()
	l.state = &running{Version: recordVersion, ID: k.id, Generation: l.rec.State.Generation + 1}
	if l.task, err = c.newTask(l.rec); err != nil {
		return err
	}
	if err := l.attach(ctx); err != nil {
		return err
	}
	if err := l.prepare(ctx); err != nil {
		return err
	}
	p, err := l.spawn(ctx, clients)
	if err != nil {
		return err
	}
	l.state.Pid, l.state.StartedAt = p.Pid, p.StartedAt
	l.undo.Add(func() { c.removeRunning(k.id) })
	if err := failpoint.Hit(failpoint.ContainerStartSpawned); err != nil {
		return err
	}
	if err := c.writeRunning(l.state); err != nil {
		return err
	}
	l.undo.Release()
	process := &process{Process: p, task: l.task, cgroup: l.prepared.Cgroup, done: make(chan struct{}), unpinned: unpinned, read: slices.ContainsFunc(clients, reads)}
	process.keepSpec(l.spec)
	k.mu.Lock()
	k.process = process
	k.updateLocked(func(r *record) {
		r.State = state{Status: apicontainer.StateRunning, Generation: p.Generation, StartedAt: p.StartedAt.UTC(), FinishedAt: r.State.FinishedAt, Running: l.state}
		r.Supervision.Ailing = false
	})
	c.supervisor.watchHealth(k, process, false)
	k.mu.Unlock()
	// Behind the answer: until then the exec root says that it runs.
	c.later(func() {
		if !l.rec.Host.AutoRemove {
			c.mustSave(k)
		}
		c.watchOOM(k, process)
	})
	return nil
}

func (c *Containers) mustSave(k *Container) {
	if err := c.save(k); err != nil && !c.index.gone(k) {
		c.log.Error("cannot save container", "container", k.id, "error", err)
	}
}

// attach gets the container its network and the namespaces it shares.
func (l *launch) attach(ctx context.Context) error {
	var err error
	if l.shared, err = l.c.share(l.rec); err != nil {
		return err
	}
	l.files.Add(l.shared.close)
	if !l.rec.Host.NetworkMode.IsContainer() {
		request, err := l.c.attachRequest(l.rec, l.state.Generation)
		if err != nil {
			return err
		}
		if l.sandbox, err = l.c.o.Networks.Attach(ctx, request); err != nil {
			return &networkError{err}
		}
		l.undo.Add(func() { l.c.o.Networks.Detach(l.k.id) })
		l.files.Add(l.sandbox.Close)
		l.state.Sandbox = l.sandbox
	}
	return failpoint.Hit(failpoint.ContainerStartNetwork)
}

// userNS returns the user namespace of the container, nil: the host's.
func (l *launch) userNS() *os.File {
	if l.sandbox != nil {
		return l.sandbox.UserNS
	}
	return l.shared.userNS
}

// prepare makes the root file system, the files under /etc, the mounts and the
// plan ready.
func (l *launch) prepare(ctx context.Context) error {
	if err := l.k.views.end(ctx, patience); err != nil {
		return err
	}
	var err error
	if l.root, err = l.mountRoot(); err != nil {
		return err
	}
	l.files.Add(func() { l.root.Close() })
	if l.spec, err = l.specification(); err != nil {
		return err
	}
	if err := l.runHooks(); err != nil {
		return err
	}
	l.state.Cgroup = l.spec.Linux.CgroupsPath
	netns := l.shared.netNS
	if l.sandbox != nil {
		netns = l.sandbox.NetNS
	}
	if l.task != nil {
		return l.prepareTask(netns)
	}
	l.prepared, err = l.c.o.Runtime.Prepare(runtime.Container{
		ID: l.k.id, Spec: l.spec, Root: l.root, UserNS: l.userNS(), NetNS: netns, Sources: l.sources, Stdio: !l.rec.Config.Tty,
		Init: spec.UsesInit(l.rec.Host, l.c.host()),
	})
	if err != nil {
		return err
	}
	l.files.Add(l.prepared.Close)
	l.undo.Add(l.prepared.Abort)
	return failpoint.Hit(failpoint.ContainerStartPrepared)
}

func (l *launch) spawn(ctx context.Context, clients []keeper.Attachment) (*keeper.Process, error) {
	config := l.rec.Config
	log, err := l.c.logConfig(l.rec)
	if err != nil {
		return nil, err
	}
	p, err := l.c.o.Keeper.Spawn(ctx, keeper.SpawnRequest{
		ID: l.k.id, Generation: l.state.Generation,
		Plan: l.prepared.Plan, Console: l.prepared.Console,
		OpenStdin: config.OpenStdin, StdinOnce: config.StdinOnce,
		Log: log, Attach: clients,
	})
	if err != nil {
		return nil, l.prepared.Explain(err)
	}
	l.undo.Add(func() {
		kill(p.Pidfd) // its exit comes as one that nobody waits for
		l.prepared.Cgroup.Kill()
	})
	if l.task != nil {
		return l.task.await(p, nil)
	}
	return p, nil
}

// startFailed records why a start failed, in docker's words and codes: its command
// line finds 126 and 127 by the text.
func (c *Containers) startFailed(k *Container, err error) error {
	code, err := startError(k.rec(), err)
	k.update(func(r *record) {
		r.State.ExitCode, r.State.Error = code, err.Error()
		r.State.Generation++ // whatever of this start is still under way is not the next one
	})
	if k.rec().State.Status == apicontainer.StateRestarting {
		// As docker has it, it is not tried again.
		k.update(func(r *record) { r.State.Status = apicontainer.StateExited })
		defer k.answer(apicontainer.WaitConditionNotRunning, apicontainer.WaitConditionNextExit)
	}
	if k.rec().Host.AutoRemove {
		c.removeLocked(k, RemoveOptions{Volumes: true})
		return err
	}
	c.mustSave(k)
	return err
}

// networkError is a failure to connect the container, whatever errno is behind it.
type networkError struct{ error }

func (e *networkError) Error() string {
	return "failed to set up container networking: " + e.error.Error()
}
func (e *networkError) Unwrap() error { return e.error }

func startError(r *record, err error) (code int, _ error) {
	if _, ok := errors.AsType[*networkError](err); ok {
		return 128, err
	}
	task := "failed to create task for container: "
	if fault.KindOf(err) != fault.Internal {
		task = "" // the request was wrong
	}
	if e, ok := errors.AsType[*taskError](err); ok {
		return e.code(), fault.New(fault.Invalid, task+"%w", err)
	}
	if e, ok := errors.AsType[*runtime.ExecError](err); ok {
		if errors.Is(err, unix.ENOEXEC) && r.Image.Platform.Architecture != goruntime.GOARCH {
			err = fmt.Errorf("%w (the image is for %s)", err, platformName(r.Image.Platform))
		}
		return e.Code, fault.New(fault.Invalid, task+"%w", codeWords(err, e.Code))
	}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return 126, fault.New(fault.Invalid, task+"%w", codeWords(err, 126))
	case errors.Is(err, unix.ENOENT):
		return 127, fault.New(fault.Invalid, task+"%w", codeWords(err, 127))
	case errors.Is(err, unix.ENAMETOOLONG): // a path that the client has made up
		return 128, fault.New(fault.Invalid, task+"%w", err)
	case errors.Is(err, unix.ENOTDIR):
		return 127, fault.New(fault.Invalid, task+"%w: are you trying to mount a directory onto a file (or vice-versa)?", err)
	}
	if fault.KindOf(err) != fault.Internal {
		return 128, err
	}
	return 128, fmt.Errorf(task+"%w", err)
}

// codeWords makes sure that the text holds the words by which docker's command line
// finds the exit code.
func codeWords(err error, code int) error {
	words := []string{"permission denied", "not a directory"}
	if code == 127 {
		words = []string{"executable file not found", "no such file or directory"}
	}
	for _, w := range words {
		if strings.Contains(err.Error(), w) {
			return err
		}
	}
	return fmt.Errorf("%w: %s", err, words[0])
}
