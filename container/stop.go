package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/pidfd"
	"hoy/linux/proc"
)

// Stop sends the stop signal, waits for timeout seconds (negative: for ever, nil:
// the container's own) and then ends the container. It returns when it has ended.
func (c *Containers) Stop(ctx context.Context, ref, sig string, timeout *int) error {
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	if !k.rec().isRunning() {
		return fault.New(fault.NotModified, "container is already stopped")
	}
	number, patience, err := c.howToStop(k.rec().Config, sig, timeout)
	if err != nil {
		return err
	}
	// A client that goes away does not end the stop.
	ctx = context.WithoutCancel(ctx)
	p, err := c.toEnd(ctx, k)
	if err != nil {
		return fault.New(fault.NotModified, "container is already stopped")
	}
	if p != nil {
		err = c.stop(ctx, k, p, number, patience)
	}
	if err != nil {
		return fmt.Errorf("cannot stop container: %s: %w", ref, err)
	}
	c.event(k, events.ActionStop)
	return nil
}

// howToStop returns the signal to stop by and how long to wait then (negative: for
// ever): what is asked for, else the container's own, else the engine's default.
func (c *Containers) howToStop(config *apicontainer.Config, sig string, timeout *int) (unix.Signal, time.Duration, error) {
	number, err := signalNumber(first(sig, first(config.StopSignal, "SIGTERM")))
	if timeout == nil {
		timeout = config.StopTimeout
	}
	if timeout == nil {
		return number, c.now.Load().stopTimeout, err
	}
	return number, time.Duration(*timeout) * time.Second, err
}

func (c *Containers) stop(ctx context.Context, k *Container, p *process, number unix.Signal, timeout time.Duration) error {
	if err := c.signal(k, p, number); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.ContainerStopSignalled); err != nil {
		return err
	}
	if timeout < 0 {
		<-p.done
		return nil
	}
	if ended(p, timeout) {
		return nil
	}
	return c.end(ctx, k, p)
}

// ended waits for the exit, at most for d.
func ended(p *process, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

// end ends a container whatever it does: first its process, then all that is in
// its cgroup. If the kernel holds a task even then, the error says which and where.
func (c *Containers) end(_ context.Context, k *Container, p *process) error {
	if err := c.signal(k, p, unix.SIGKILL); err != nil && p.task == nil {
		return err
	}
	if ended(p, patience/5) {
		return nil
	}
	killErr := p.cgroup.Kill()
	if p.task != nil && !ended(p, patience/5) {
		kill(p.Pidfd) // its runtime does not answer: what is left is removed without it
	}
	if ended(p, patience) {
		return nil
	}
	tasks, err := p.cgroup.Procs()
	return fault.New(fault.Unavailable, "tried to kill container, but did not receive an exit event: %w", errors.Join(killErr, err, heldTasks(tasks)))
}

// heldTasks says where the kernel holds tasks.
func heldTasks(pids []int) error {
	if len(pids) == 0 {
		return errors.New("its cgroup is empty: the keeper has not told the exit")
	}
	var l []string
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid) + "/"
		comm, _ := os.ReadFile(dir + "comm")
		where, _ := os.ReadFile(dir + "wchan")
		l = append(l, fmt.Sprintf("%d (%s) in %s", pid, strings.TrimSpace(string(comm)), first(strings.TrimSpace(string(where)), "?")))
	}
	return fmt.Errorf("the kernel still holds %s", strings.Join(l, ", "))
}

// signal sends a signal to the first process. One that has ended is no failure.
func (c *Containers) signal(k *Container, p *process, number unix.Signal) error {
	if k.rec().Host.PidMode == "" {
		awaitHandler(p, number)
	}
	p.signals.Lock()
	err := p.signal(number)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		p.signals.Unlock()
		return err
	}
	c.event(k, events.ActionKill, "signal", strconv.Itoa(int(number)))
	p.signals.Unlock()
	if endsRun(number, k.rec().Config.StopSignal) {
		return c.thaw(k, p) // or it would not come to know
	}
	return nil
}

// youth is how long a program may take, from its start, to say what it does with
// signals.
const youth = 500 * time.Millisecond

// awaitHandler waits, while a program is young, until it has a say in the signal: the
// kernel drops what process 1 of a namespace neither catches nor blocks
// (pid_namespaces(7)), and a container starts more quickly than many a program.
func awaitHandler(p *process, number unix.Signal) {
	switch number {
	case unix.SIGKILL, unix.SIGSTOP, unix.SIGCONT:
		return
	}
	for time.Since(p.StartedAt) < youth {
		if heeds, err := proc.Heeds(p.Pid, number); heeds || err != nil || ended(p, 2*time.Millisecond) {
			return
		}
	}
}

// kill ends a process; one that has ended already is none of its concern.
func kill(f *os.File) { pidfd.Signal(f, unix.SIGKILL) }

// Kill sends a signal, SIGKILL when sig is empty, and for that one waits for the end.
func (c *Containers) Kill(ctx context.Context, ref, sig string) error {
	if err := c.kill(ctx, ref, sig); err != nil {
		return fmt.Errorf("cannot kill container: %s: %w", ref, err)
	}
	return nil
}

func (c *Containers) kill(ctx context.Context, ref, sig string) error {
	number, err := signalNumber(first(sig, "SIGKILL"))
	if err != nil {
		return err
	}
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	p, err := c.toSignal(ctx, k, number)
	switch {
	case err != nil:
		return fault.New(fault.Conflict, "%w", err)
	case p == nil: // it waited for a restart that will not be
		return nil
	case number == unix.SIGKILL:
		return c.end(context.WithoutCancel(ctx), k, p)
	}
	return c.signal(k, p, number)
}

// signalNumber reads a signal's name, with or without SIG, or number.
func signalNumber(s string) (unix.Signal, error) {
	n, err := signal.ParseSignal(s)
	if err != nil {
		return 0, fault.New(fault.Invalid, "invalid signal: %s", s)
	}
	if n < 1 || n > 64 {
		return 0, fault.New(fault.Invalid, "the linux daemon does not support signal %d", n)
	}
	return n, nil
}
