package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/executor"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/keeper"
	"hoy/lib/cleanup"
	"hoy/network"
	"hoy/runtime"
)

// execution is a container that runs one step of a build.
type execution struct {
	e    *stepExecutor
	id   string // to the keeper, the networks and the cgroups
	name string // BuildKit's
	p    executor.ProcessInfo

	root     *os.File            // file system, a detached mount
	sandbox  *network.Sandbox    // network
	sources  map[string]*os.File // detached mounts, by where they go
	spec     *specs.Spec
	prepared *runtime.Prepared
	process  *keeper.Process // once begun is closed

	begun, over chan struct{}
	files       cleanup.Stack // run at the end, in every case
	rest        cleanup.Stack // run behind the answer, after files
}

const generation = 1 // a step is started once

// prepare makes everything the step consists of, but for its process.
func (s *execution) prepare(ctx context.Context, root executor.Mount, mounts []executor.Mount) error {
	dir := filepath.Join(s.e.dir, s.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.rest.Add(func() { os.RemoveAll(dir) })
	if err := s.attach(ctx); err != nil {
		return err
	}
	if err := s.mountRoot(ctx, root); err != nil {
		return fmt.Errorf("cannot mount the root file system of a step: %w", err)
	}
	// What the runtime makes below to mount on is not the step's doing.
	s.files.Add(executor.MountStubsCleaner(context.WithoutCancel(ctx), fmt.Sprintf("/proc/self/fd/%d", s.root.Fd()), mounts, s.p.Meta.RemoveMountStubsRecursive))
	own, err := s.mounts(ctx, mounts)
	if err != nil {
		return err
	}
	if s.spec, err = s.specification(dir, own, root.Readonly); err != nil {
		return err
	}
	groups := append([]string{s.spec.Linux.CgroupsPath}, s.groupsAbove()...)
	// Read by the next engine, should this one be killed.
	return os.WriteFile(filepath.Join(dir, "cgroups"), []byte(strings.Join(groups, "\n")), 0o600)
}

// groupsAbove are those of --cgroup-parent that go with the step.
func (s *execution) groupsAbove() []string {
	parent := s.p.Meta.CgroupParent
	if parent == "" || s.e.o.Cgroups == nil {
		return nil
	}
	groups := s.e.above.take(s.e.o.Cgroups, parent)
	s.rest.Add(func() {
		if err := s.e.above.leave(s.e.o.Cgroups, groups); err != nil {
			s.e.o.Log.Warn("cannot remove the cgroups above a build's step", "step", s.id, "error", err)
		}
	})
	return groups
}

// attach gives the step its network.
func (s *execution) attach(ctx context.Context) error {
	r := network.AttachRequest{
		ContainerID: s.id, Name: s.id, Generation: generation,
		HostUser: s.e.o.UserMap == nil || s.privileged(),
	}
	switch s.p.Meta.NetMode {
	case pb.NetMode_HOST:
		r.Mode = "host"
	case pb.NetMode_NONE:
		r.Mode = "none"
	default:
		r.Endpoints = []network.EndpointRequest{{Network: "bridge"}}
	}
	box, err := s.e.o.Networks.Attach(ctx, r)
	if err != nil {
		return fmt.Errorf("cannot give a step its network: %w", err)
	}
	s.sandbox = box
	s.rest.Add(func() { s.e.o.Networks.Detach(s.id) })
	s.rest.Add(box.Close)
	return nil
}

// privileged reports whether RUN --security=insecure was asked for, and allowed.
func (s *execution) privileged() bool { return s.p.Meta.SecurityMode == pb.SecurityMode_INSECURE }

// userNS is the user namespace of the step; nil: the host's.
func (s *execution) userNS() *os.File { return s.sandbox.UserNS }

// run starts the process and waits for its end.
func (s *execution) run(ctx context.Context, started func()) error {
	streams, err := newStreams(s.p)
	if err != nil {
		return err
	}
	defer streams.close()
	s.prepared, err = s.e.o.Runtime.Prepare(runtime.Container{
		ID: s.id, Spec: s.spec, Root: s.root, UserNS: s.sandbox.UserNS, NetNS: s.sandbox.NetNS, Sources: s.sources, Streams: streams.theirs,
	})
	if err != nil {
		return s.notStarted(err)
	}
	s.rest.Add(s.prepared.Close)
	exit, forget := s.e.o.Keeper.Await(s.id)
	defer forget()
	p, err := streams.spawn(ctx, s.e, s.id, s.prepared)
	if err != nil {
		s.prepared.Abort()
		return s.notStarted(err)
	}
	s.process = p
	close(s.begun)
	started()
	e := streams.wait(ctx, p, exit, func() { s.prepared.Cgroup.Kill() })
	killed, _ := s.prepared.Cgroup.OOMKills() // no such file: none
	s.rest.Add(func() {
		s.e.ack(p)
		if err := s.prepared.Cgroup.Remove(); err != nil {
			s.e.o.Log.Warn("cannot remove the cgroup of a build's step", "step", s.id, "error", err)
		}
	})
	return exitError(ctx, e, s.p.Meta.ValidExitCodes, killed > 0)
}

// notStarted says why a step could not begin, by the exit code that a shell would have.
func (s *execution) notStarted(err error) error {
	if x, ok := errors.AsType[*runtime.ExecError](err); ok {
		return &gateway.ExitError{ExitCode: uint32(x.Code), Err: x}
	}
	return fmt.Errorf("cannot start a step: %w", err)
}

// end gives back what the step has had, when its process is gone.
func (s *execution) end() {
	close(s.over)
	s.e.mu.Lock()
	delete(s.e.running, s.name)
	s.e.mu.Unlock()
	s.files.Run()
	s.e.behind.Go(s.rest.Run)
}

// exitError is how BuildKit is told of an end: nil, or a *gateway.ExitError.
func exitError(ctx context.Context, e keeper.Exit, valid []int, oom bool) error {
	if len(valid) == 0 {
		valid = []int{0}
	}
	if slices.Contains(valid, e.Code) && ctx.Err() == nil {
		return nil
	}
	x := &gateway.ExitError{ExitCode: uint32(e.Code)}
	switch {
	case ctx.Err() != nil:
		x.Err = fmt.Errorf("%s: %w", x.Error(), context.Cause(ctx))
	case oom:
		x.Err = errOOM
	case e.Error != "":
		x.Err = errors.New(e.Error)
	}
	return x
}
