package container

import (
	"context"

	"github.com/moby/moby/api/types/events"

	"hoy/lib/fault"
)

// Restart stops a container, if it runs, and starts it. A container that is to be
// removed at its exit is not removed in between. signal and timeout are as in Stop.
func (c *Containers) Restart(ctx context.Context, ref, signal string, timeout *int) error {
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	if c.supervisor.over() {
		return fault.New(fault.Unavailable, "Cannot restart container %s: the engine is ending", ref)
	}
	// A client that goes away does not leave a container that was only stopped.
	ctx = context.WithoutCancel(ctx)
	k.mu.Lock()
	k.returning++
	k.mu.Unlock()
	err = c.restart(ctx, k, signal, timeout)
	k.mu.Lock()
	k.returning--
	k.mu.Unlock()
	if err != nil {
		return fault.New(fault.KindOf(err), "Cannot restart container %s: %w", ref, err)
	}
	c.event(k, events.ActionRestart)
	return nil
}

func (c *Containers) restart(ctx context.Context, k *Container, signal string, timeout *int) error {
	err := c.Stop(ctx, k.id, signal, timeout)
	if err != nil && !fault.Is(err, fault.NotModified) {
		return err
	}
	if err := c.Start(ctx, k.id); err != nil && !fault.Is(err, fault.NotModified) {
		return err
	}
	return nil
}
