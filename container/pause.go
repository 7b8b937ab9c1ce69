package container

import (
	"context"
	"fmt"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/lib/fault"
)

// Whether a container is paused only the kernel knows: its cgroup is frozen. The
// state in the record follows, and an engine that adopts a container asks the kernel.

// Pause freezes every process of a running container.
func (c *Containers) Pause(ctx context.Context, ref string) error {
	k, err := c.claim(ctx, ref)
	if err != nil {
		return err
	}
	defer k.op.unlock()
	p, err := k.running()
	if err != nil {
		return err
	}
	p.freezer.Lock()
	defer p.freezer.Unlock()
	if k.rec().isPaused() {
		return fault.New(fault.Conflict, "container %s is already paused", k.id)
	}
	if err := p.freeze(); err != nil {
		p.thaw() // half frozen is worse than not at all
		return fmt.Errorf("cannot pause container %s: %w", k.id, err)
	}
	k.setPaused(p, true)
	c.event(k, events.ActionPause)
	return nil
}

// Unpause lets a paused container go on.
func (c *Containers) Unpause(ctx context.Context, ref string) error {
	k, err := c.claim(ctx, ref)
	if err != nil {
		return err
	}
	defer k.op.unlock()
	p, err := k.running()
	if err != nil || !k.rec().isPaused() {
		return fault.New(fault.Conflict, "Container %s is not paused", k.id)
	}
	if err := c.thaw(k, p); err != nil {
		return fault.New(fault.KindOf(err), "Cannot unpause container %s: %w", k.id, err)
	}
	return nil
}

// thaw lets the processes of p go on if they are frozen. It waits for a pause that is
// under way, so that a container that is paused and killed at once ends.
func (c *Containers) thaw(k *Container, p *process) error {
	p.freezer.Lock()
	defer p.freezer.Unlock()
	if !k.rec().isPaused() {
		return nil
	}
	if err := p.thaw(); err != nil {
		return err
	}
	if k.setPaused(p, false) {
		c.event(k, events.ActionUnPause)
	}
	return nil
}

// setPaused changes the state if p still runs.
func (k *Container) setPaused(p *process, paused bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process != p {
		return false
	}
	k.updateLocked(func(r *record) {
		r.State.Status = apicontainer.StateRunning
		if paused {
			r.State.Status = apicontainer.StatePaused
			p.pauses++
		}
	})
	return true
}

// unpaused returns docker's error for what a paused container cannot do.
func (k *Container) unpaused(format string, args ...any) error {
	if k.rec().isPaused() {
		return fault.New(fault.Conflict, format, args...)
	}
	return nil
}
