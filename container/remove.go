package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/lib/atomicfile"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// Remove removes a container that does not run, or with Force kills it first.
func (c *Containers) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	if o.Link {
		return c.unlink(ctx, ref)
	}
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	if err := c.claimRemoval(ctx, k, ref, o.Force); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	err = c.removeClaimed(ctx, k, o)
	k.mu.Lock()
	k.removing = false
	k.mu.Unlock()
	return err
}

// claimRemoval keeps everything else from beginning. It waits for a start or exit
// that is under way, so that a removal sees a container that runs or does not.
func (c *Containers) claimRemoval(ctx context.Context, k *Container, ref string, force bool) error {
	if err := k.op.lock(ctx); err != nil {
		return err
	}
	defer k.op.unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case c.index.gone(k):
		return fault.New(fault.NotFound, "No such container: %s", ref)
	case k.removing:
		return fault.New(fault.Conflict, "removal of container %s is already in progress", ref)
	case k.process != nil && !force && k.rec().isPaused():
		return fault.New(fault.Conflict, `cannot remove container "%s": container is paused and must be unpaused first`, ref)
	case (k.process != nil || k.comeback != nil) && !force:
		return fault.New(fault.Conflict, `cannot remove container "%s": container is %s: stop the container before removing or force remove`, ref, k.rec().State.Status)
	}
	k.removing = true
	k.callOffLocked()
	return nil
}

func (c *Containers) removeClaimed(ctx context.Context, k *Container, o RemoveOptions) error {
	if p, err := k.running(); err == nil {
		c.markStopped(k, p, true) // if it outlives this attempt, or the engine: it stays down
		if err := c.end(ctx, k, p); err != nil {
			return fmt.Errorf("cannot remove container %s: %w", k.id, err)
		}
	}
	k.op.lock(ctx)
	defer k.op.unlock()
	if c.index.gone(k) {
		return nil
	}
	return c.removeLocked(k, o)
}

// removeLocked takes the container away. The operation lock is held, and the
// container does not run. The layer goes first: a record without a layer is
// removed again, by anybody who tries; a layer without a record at the next start.
func (c *Containers) removeLocked(k *Container, o RemoveOptions) error {
	rec := k.rec()
	if err := k.views.end(context.Background(), 0); err != nil {
		return c.removeFailed(k, err)
	}
	if err := c.o.Layers.Remove(rec.ID); err != nil {
		return c.removeFailed(k, err)
	}
	if err := failpoint.Hit(failpoint.ContainerRemoveLayer); err != nil {
		return c.removeFailed(k, err)
	}
	if err := c.removeDir(k); err != nil {
		return c.removeFailed(k, err)
	}
	c.forget(k, o)
	if !rec.Host.AutoRemove {
		if err := atomicfile.SyncDir(c.o.Root); err != nil {
			c.log.Warn("cannot sync", "directory", c.o.Root, "error", err)
		}
	}
	return nil
}

// forget takes the container out of everybody's sight and answers who waits for that.
func (c *Containers) forget(k *Container, o RemoveOptions) {
	c.releaseVolumes(k.rec(), o.Volumes)
	for _, id := range c.index.remove(k) {
		os.Remove(c.execPath(id))
	}
	closeAttachments(k.takePending())
	c.event(k, events.ActionDestroy)
	k.update(func(r *record) { r.State.Error = "" }) // who waits for the removal has it
	k.answer(apicontainer.WaitConditionRemoved, apicontainer.WaitConditionNextExit, apicontainer.WaitConditionNotRunning)
}

// forgetTemporary forgets a container that is removed at its exit before its files are
// removed, which nobody needs to wait for: without a record they are nobody's, and
// whatever is left of them is removed at the next start. false: nothing was done.
// Volumes are removed in order, after the mounts that show them.
func (c *Containers) forgetTemporary(k *Container) bool {
	rec := k.rec()
	removing, returning := k.plans()
	if !rec.Host.AutoRemove || len(rec.Mounts) > 0 || removing || returning || c.hideRecord(k.id) != nil {
		return false
	}
	c.forget(k, RemoveOptions{})
	return true
}

// askable is how long a container that is removed at its exit can be asked after then, if
// somebody may want to. dockerd takes some tens of milliseconds to remove it.
const askable = 200 * time.Millisecond

// askedAfter tells of a container, whose process p has ended, that somebody may ask after,
// for its exit code: who has read its output to the end. Whoever waits for its removal does
// not.
func (k *Container) askedAfter(p *process) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return p.read && !slices.ContainsFunc(k.waiters, func(w waiter) bool { return w.condition == apicontainer.WaitConditionRemoved })
}

// removeSoon removes a container when nobody will ask after it any more, unless it has been
// started again.
func (c *Containers) removeSoon(k *Container) {
	select {
	case <-time.After(askable):
	case <-c.closing:
	}
	err := c.Remove(context.Background(), k.id, RemoveOptions{Volumes: true})
	if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
		c.log.Warn("cannot remove a container that has ended", "container", k.id, "error", err)
	}
}

// removeForgotten removes the files of a forgotten container.
func (c *Containers) removeForgotten(k *Container) {
	k.views.end(context.Background(), 0) // whoever copies them knows soon
	err := failpoint.Hit(failpoint.ContainerForgotten)
	if err == nil {
		err = errors.Join(c.o.Layers.Remove(k.id), c.removeDir(k))
	}
	if err != nil {
		c.log.Warn("cannot remove the files of a container; the next start tries again", "container", k.id, "error", err)
	}
}

// removeFailed leaves a container that can only be removed again. Who waits for its removal
// is told why there was none: as with docker, nobody waits for another attempt.
func (c *Containers) removeFailed(k *Container, err error) error {
	k.update(func(r *record) { r.State.Status, r.State.Error = apicontainer.StateDead, err.Error() })
	c.mustSave(k)
	k.answer(apicontainer.WaitConditionRemoved, apicontainer.WaitConditionNextExit, apicontainer.WaitConditionNotRunning)
	return fmt.Errorf("cannot remove container %s: %w", k.id, err)
}
