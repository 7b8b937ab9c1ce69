package build

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/moby/buildkit/executor"
	resources "github.com/moby/buildkit/executor/resources/types"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
	"hoy/linux/seccomp"
)

// stepExecutor runs the steps of builds: each is a container of its own, whose first
// process is tied to this engine. When the engine is gone, so is the step.
//
//	<exec root>/build/ID/          hosts and resolv.conf of a step
//	<exec root>/build/ID/cgroups   paths: its cgroup, and those above that go with it
type stepExecutor struct {
	o   *Options
	dir string

	mu      sync.Mutex
	running map[string]*execution // by BuildKit's id; guarded by mu
	filter  map[string]*specs.LinuxSeccomp

	above parentGroups

	behind sync.WaitGroup // what goes on behind answers
}

func newStepExecutor(o *Options) *stepExecutor {
	return &stepExecutor{o: o, dir: stepsDir(o), running: map[string]*execution{}, filter: map[string]*specs.LinuxSeccomp{}}
}

func stepsDir(o *Options) string { return filepath.Join(o.ExecRoot, "build") }

// Run runs a step to its end. id is how Exec finds it; "": it does not.
func (e *stepExecutor) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, p executor.ProcessInfo, started chan<- struct{}) (resources.Recorder, error) {
	once := sync.OnceFunc(func() {
		if started != nil {
			close(started)
		}
	})
	defer once() // who waits for a step that never began goes on
	s, err := e.newStep(id, p)
	if err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.prepare(ctx, root, mounts); err != nil {
		return nil, err
	}
	return nil, s.run(ctx, once)
}

// Exec runs a process in a step that runs, or is about to.
func (e *stepExecutor) Exec(ctx context.Context, id string, p executor.ProcessInfo) error {
	e.mu.Lock()
	s := e.running[id]
	e.mu.Unlock()
	if s == nil {
		return fault.New(fault.NotFound, "container %s not found", id)
	}
	select {
	case <-s.begun:
	case <-s.over:
		return fault.New(fault.Conflict, "container %s has stopped", id)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.exec(ctx, p)
}

// validID is what may be part of a path, and is an id to the keeper with a prefix.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

func (e *stepExecutor) newStep(id string, p executor.ProcessInfo) (*execution, error) {
	if id == "" {
		id = strings.ToLower(rand.Text())
	}
	if !validID.MatchString(id) {
		return nil, fault.New(fault.Invalid, "invalid container ID %q", id)
	}
	if len(p.Meta.CDIDevices) > 0 {
		return nil, fault.New(fault.NotImplemented, "devices (RUN --device=%s) are not given to steps of builds", p.Meta.CDIDevices[0].Name)
	}
	if p.Meta.Proxy != nil {
		return nil, fault.New(fault.NotImplemented, "steps of builds have no proxy of their own")
	}
	s := &execution{e: e, id: "build-" + id, name: id, p: p, begun: make(chan struct{}), over: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[id] != nil {
		return nil, fault.New(fault.Conflict, "container %s is there already", id)
	}
	e.running[id] = s
	return s, nil
}

// seccomp is the profile of steps with these capabilities, always the same one: the
// runtime knows it by its address.
func (e *stepExecutor) seccomp(profile string, caps []string) (*specs.LinuxSeccomp, error) {
	key := fmt.Sprint(caps, profile)
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.filter[key]; f != nil {
		return f, nil
	}
	var f *specs.LinuxSeccomp
	var err error
	if profile == "" {
		f, err = seccomp.Default(caps)
	} else {
		f, err = seccomp.Parse([]byte(profile), caps)
	}
	if err == nil {
		e.filter[key] = f
	}
	return f, err
}

// sweepSteps removes what steps of an engine that was killed have left: the keeper has
// ended their processes.
func sweepSteps(o *Options) error {
	dir := stepsDir(o)
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range entries {
		if err := sweepGroups(o, filepath.Join(dir, d.Name(), "cgroups")); err != nil {
			o.Log.Debug("cannot remove the cgroups of a build's step", "step", d.Name(), "error", err)
		}
	}
	return os.RemoveAll(dir)
}

// sweepGroups removes the cgroups that a file names.
func sweepGroups(o *Options, file string) error {
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 || o.Cgroups == nil {
		return nil
	}
	own, above, _ := strings.Cut(string(text), "\n")
	g := o.Cgroups.Load(own)
	if err := errors.Join(g.Kill(), g.Remove()); err != nil {
		return err
	}
	for at := range strings.FieldsFuncSeq(above, func(r rune) bool { return r == '\n' }) {
		if err := o.Cgroups.Load(at).RemoveEmpty(); err != nil {
			return err
		}
	}
	return nil
}
