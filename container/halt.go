package container

import (
	"context"
	"errors"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// callOff ends the pause before a restart, if the container is in one: it stays down.
func (c *Containers) callOff(ctx context.Context, k *Container) (bool, error) {
	if k.rec().State.Status != apicontainer.StateRestarting {
		return false, nil
	}
	if err := k.op.lock(ctx); err != nil {
		return false, err
	}
	defer k.op.unlock()
	k.mu.Lock()
	off := k.callOffLocked()
	k.mu.Unlock()
	if off {
		c.mustSave(k)
		k.answer(apicontainer.WaitConditionNotRunning, apicontainer.WaitConditionNextExit)
	}
	return off, nil
}

// callOffLocked is callOff with both locks held.
func (k *Container) callOffLocked() bool {
	if k.comeback == nil {
		return false
	}
	if t := k.comeback.timer; t != nil {
		t.Stop()
	}
	k.comeback = nil
	k.updateLocked(func(r *record) {
		r.State.Status, r.Supervision.Stopped = apicontainer.StateExited, k.returning == 0
	})
	return true
}

// toEnd returns the process to send an ending signal to, marked so that no policy
// starts the container again. nil: it waited for its restart, which is called off.
func (c *Containers) toEnd(ctx context.Context, k *Container) (*process, error) {
	for {
		if off, err := c.callOff(ctx, k); off || err != nil {
			return nil, err
		}
		p, err := k.running()
		if err != nil {
			if errors.Is(err, errRestarting) {
				continue // a restart has begun or ended meanwhile
			}
			return nil, err
		}
		if c.markStopped(k, p, true) {
			return p, nil
		}
	}
}

// toSignal returns the process to send a signal to, nil when there is none any more,
// and marks what that means for its restarts.
func (c *Containers) toSignal(ctx context.Context, k *Container, number unix.Signal) (*process, error) {
	if endsRun(number, k.rec().Config.StopSignal) {
		return c.toEnd(ctx, k)
	}
	p, err := k.running()
	if err == nil {
		c.markStopped(k, p, false)
	}
	return p, err
}

// endsRun tells whether a signal means that the container should stay down: the one
// it stops by, or, as docker has it, any when it names none.
func endsRun(number unix.Signal, stopSignal string) bool {
	if number == unix.SIGKILL || stopSignal == "" {
		return true
	}
	stop, err := signalNumber(stopSignal)
	return err != nil || stop == number
}

// markStopped records that somebody sends p a signal, halt: one to end it. It tells
// whether p is still the container's process. A container that is being restarted is
// meant to run: if the engine ends in between, the next one starts it by its policy, as
// dockerd does.
func (c *Containers) markStopped(k *Container, p *process, halt bool) bool {
	k.mu.Lock()
	if k.process != p {
		k.mu.Unlock()
		return false
	}
	p.halted = p.halted || halt
	stays := k.returning == 0
	news := k.rec().Supervision.Stopped != stays && !k.rec().Host.RestartPolicy.IsNone()
	k.updateLocked(func(r *record) { r.Supervision.Stopped = stays })
	k.mu.Unlock()
	if news {
		c.mustSave(k) // or the next engine would start it again
	}
	return true
}

// errRestarting is why nothing can be done with a container between two runs.
var errRestarting = fault.New(fault.Conflict, "is restarting, wait until the container is running")
