package container

import (
	"time"

	"github.com/moby/moby/api/types/events"
)

// A process of a container that lacks memory may be killed without the container
// ending. State.OOMKilled and the event oom tell of that at once where the container
// has a limit of its own, and at its exit at the latest.

// settling is how long the kernel may take to count a kill that it has told of.
const settling = 50 * time.Millisecond

// watchOOM lets the kernel tell of kills in p's group, if there is a limit to reach.
// It may be called again when there is one.
func (c *Containers) watchOOM(k *Container, p *process) {
	k.mu.Lock()
	watched := p.unwatch != nil
	k.mu.Unlock()
	if k.rec().Host.Memory <= 0 || watched {
		return
	}
	stop, err := p.cgroup.WatchOOM(func() { c.oomSoon(k, p) })
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.process != p: // ended before
	case err != nil:
		c.log.Warn("cannot watch a container's memory", "container", k.id, "error", err)
	case p.unwatch == nil:
		p.unwatch = stop
		return
	}
	if stop != nil {
		stop()
	}
}

// oomSoon looks at the counter when it has settled, however often the kernel tells.
func (c *Containers) oomSoon(k *Container, p *process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process == p && !p.oomDue {
		p.oomDue = true
		c.supervisor.after(settling, func() { c.countOOM(k, p) })
	}
}

// countOOM records kills that are news.
func (c *Containers) countOOM(k *Container, p *process) {
	n, err := p.cgroup.OOMKills()
	k.mu.Lock()
	p.oomDue = false
	news := err == nil && k.process == p && n > p.ooms
	if news {
		p.ooms = n
		k.updateLocked(func(r *record) { r.State.OOMKilled = true })
	}
	k.mu.Unlock()
	if news {
		c.mustSave(k) // first, so that no later engine tells what was told
		c.event(k, events.ActionOOM)
	}
}

// endOOM is the last look, when p has ended: whether a process was ever killed.
func (c *Containers) endOOM(k *Container, p *process) bool {
	k.mu.Lock()
	told, stop := p.ooms, p.unwatch
	p.unwatch = nil
	k.mu.Unlock()
	if stop != nil {
		stop()
	}
	n, err := p.cgroup.OOMKills()
	if p.task != nil && p.task.oom() { // the runtime has removed the group
		n, err = max(n, told, 1), nil
	}
	if err == nil && n > told {
		c.event(k, events.ActionOOM)
	}
	return told > 0 || err == nil && n > 0
}

// resumeOOM goes on with what an earlier engine started: kills that it told of are no
// news.
func (c *Containers) resumeOOM(k *Container, p *process) {
	if n, err := p.cgroup.OOMKills(); err == nil && k.rec().State.OOMKilled {
		k.mu.Lock()
		p.ooms = n
		k.mu.Unlock()
	}
	c.watchOOM(k, p)
	c.countOOM(k, p)
}
