package container

import (
	"context"
	"os"
	"strconv"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/keeper"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// watch handles the exits that the keeper reports, each on its own: none waits for
// another container.
func (c *Containers) watch() {
	for {
		select {
		case e, ok := <-c.o.Keeper.Exits():
			if !ok {
				return
			}
			c.later(func() { c.exited(e) })
		case <-c.closing:
			return
		}
	}
}

func (c *Containers) exited(e keeper.Exit) {
	if err := failpoint.Hit(failpoint.ContainerExit); err != nil {
		// The keeper keeps it until it is acknowledged, so it can be taken up later.
		c.log.Error("cannot record an exit yet", "id", e.ID, "error", err)
		select {
		case <-time.After(time.Second):
		case <-c.closing:
			return
		}
	}
	if x, err := c.index.exec(e.ID); err == nil {
		c.execExited(x, e)
	} else if k, err := c.index.get(e.ID); err == nil && k.id == e.ID {
		c.containerExited(k, e)
	} else {
		c.strayExited(e)
		c.o.Networks.Detach(e.ID) // of a container that cannot be read
	}
	if err := c.o.Keeper.Ack(context.Background(), e.ID, e.Generation); err != nil && !fault.Is(err, fault.NotFound) {
		c.log.Warn("cannot acknowledge an exit", "id", e.ID, "error", err)
	}
}

// strayExited cleans up after a process that no record speaks of: its container
// was removed, or its start failed at the last step.
func (c *Containers) strayExited(e keeper.Exit) {
	c.endTask(e.ID)
	if err := c.o.Cgroups.Load(c.o.CgroupParent + "/" + e.ID).Remove(); err != nil {
		c.log.Debug("cannot remove cgroup", "id", e.ID, "error", err)
	}
	os.Remove(c.execPath(e.ID))
}

// containerExited ends a container: the state first, then the answers, then what
// takes time.
func (c *Containers) containerExited(k *Container, e keeper.Exit) {
	k.op.lock(context.Background())
	defer k.op.unlock()
	k.mu.Lock()
	p := k.process
	k.mu.Unlock()
	if p == nil || p.Generation != e.Generation {
		if p == nil {
			c.strayExited(e)
		}
		return
	}
	if !k.rec().Host.PidMode.IsPrivate() {
		p.cgroup.Kill() // the kernel ends the others only with a PID namespace of its own
	}
	oom := c.endOOM(k, p)
	if p.task != nil {
		c.endTask(k.id)
	}
	left := k.rec().State.endpoints()
	c.o.Networks.Leaving(k.id) // who sees that it has ended may ask for what it had
	c.markExited(k, p, e, oom)
	p.signals.Lock() // whoever sent one tells of it first
	c.event(k, events.ActionDie, "exitCode", strconv.Itoa(e.Code),
		"execDuration", strconv.Itoa(int(e.At.Sub(p.StartedAt).Seconds())))
	p.signals.Unlock()
	close(p.done) // now whoever stopped it tells of that
	k.answer(apicontainer.WaitConditionNotRunning, apicontainer.WaitConditionNextExit)
	c.networkEvents(k, events.ActionDisconnect, left)
	c.mountEvents(k, events.ActionUnmount)
	forgotten := !k.askedAfter(p) && c.forgetTemporary(k)
	if p.unpinned != nil {
		<-p.unpinned // or the next start could find the layer in use
	}
	c.release(k, p, forgotten)
}

// severNetwork takes the links of a container that has ended out of its network namespace,
// where that stays because other containers have joined it: as docker does, and since what
// addresses they have there are about to be given to others.
func (c *Containers) severNetwork(k *Container) {
	k.mu.Lock()
	shared := k.shared
	k.mu.Unlock()
	if !shared {
		return
	}
	joined := false
	var netns *os.File
	for _, other := range c.index.all() {
		if !c.onNetworkOf(other, k) {
			continue
		}
		joined = true
		if p, err := other.running(); err == nil && netns == nil {
			netns, _ = openNetNS(p)
		}
	}
	if joined {
		c.o.Networks.Sever(k.id, netns)
		netns.Close() // on nil it only returns an error
	}
}

// onNetworkOf tells whether a container is on the network of k, which may be forgotten already.
func (c *Containers) onNetworkOf(other, k *Container) bool {
	mode := other.rec().Host.NetworkMode
	if !mode.IsContainer() {
		return false
	}
	ref := mode.ConnectedContainer()
	if ref == k.id || ref == k.rec().Name {
		return true
	}
	donor, err := c.index.get(ref)
	return err == nil && donor == k
}

// markExited stores the final state, or that a restart follows.
func (c *Containers) markExited(k *Container, p *process, e keeper.Exit, oom bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.process = nil
	k.endHealth(p)
	pause, again := k.nextLocked(p, e)
	if again {
		c.supervisor.restartLater(k, pause)
	}
	k.updateLocked(func(r *record) {
		r.State.Status = apicontainer.StateExited
		if again {
			r.State.Status = apicontainer.StateRestarting
			r.Supervision.Restarts++
		}
		r.State.ExitCode, r.State.Error, r.State.OOMKilled = e.Code, e.Error, oom
		r.State.FinishedAt = e.At.UTC()
		if e.At.IsZero() {
			r.State.FinishedAt = time.Now().UTC()
		}
		r.State.Running = nil
	})
}

// release gives back what a running container had, and its files when it is forgotten.
// The operation lock is held.
func (c *Containers) release(k *Container, p *process, forgotten bool) {
	c.severNetwork(k)
	c.o.Networks.Detach(k.id)
	removing, returning := k.plans()
	switch {
	case forgotten:
		c.removeForgotten(k)
	case removing: // whoever removes it waits for this lock
	case k.rec().Host.AutoRemove && !returning && k.askedAfter(p):
		// If this engine does not come to it, the next does.
		c.later(func() { c.removeSoon(k) })
	case k.rec().Host.AutoRemove && !returning:
		c.removeLocked(k, RemoveOptions{Volumes: true})
	default:
		c.mustSave(k)
	}
	c.unmountVolumes(k.rec())
	if k.rec().Host.IpcMode.IsShareable() {
		c.unshareShm(k.id)
	}
	c.removeRunning(k.id)
	if err := p.cgroup.Remove(); err != nil {
		c.log.Warn("cannot remove cgroup", "container", k.id, "error", err)
	}
}
