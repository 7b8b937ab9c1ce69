package build

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/moby/buildkit/executor"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/pidfd"
	"hoy/runtime"
)

// exec runs a process in the step.
func (s *execution) exec(ctx context.Context, p executor.ProcessInfo) error {
	process := *s.spec.Process
	process.Args, process.Terminal = p.Meta.Args, p.Meta.Tty
	if p.Meta.Cwd != "" {
		process.Cwd = p.Meta.Cwd
	}
	if len(p.Meta.Env) > 0 {
		process.Env = p.Meta.Env
	}
	if len(process.Args) == 0 {
		return fault.New(fault.Invalid, "no command specified")
	}
	if p.Meta.User != "" {
		user, home, err := runtime.LookupUser(s.root, p.Meta.User, nil)
		if err != nil {
			return err
		}
		process.User = user
		process.Env = environment(process.Env, home, p.Meta.Tty)
	}
	streams, err := newStreams(p)
	if err != nil {
		return err
	}
	defer streams.close()
	prepared, err := s.e.o.Runtime.PrepareExec(runtime.Exec{
		Pidfd: s.process.Pidfd, Pid: s.process.Pid, Cgroup: s.prepared.Cgroup, Process: &process, Seccomp: s.spec.Linux.Seccomp,
		IDs: s.spec.Linux, ContainerCaps: s.spec.Process.Capabilities.Bounding, Streams: streams.theirs,
	})
	if err != nil {
		return s.notStarted(err)
	}
	defer prepared.Close()
	id := s.id + "." + strings.ToLower(rand.Text())
	exit, forget := s.e.o.Keeper.Await(id)
	defer forget()
	proc, err := streams.spawn(ctx, s.e, id, prepared)
	if err != nil {
		return s.notStarted(err)
	}
	e := streams.wait(ctx, proc, exit, func() { pidfd.Signal(proc.Pidfd, unix.SIGKILL) })
	s.e.ack(proc)
	return exitError(ctx, e, p.Meta.ValidExitCodes, false)
}
