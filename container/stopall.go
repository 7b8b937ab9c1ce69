package container

import (
	"context"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// Shutdown is StopAll for an engine that ends and takes its containers with it: from now
// on none starts, by hand or by its policy.
func (c *Containers) Shutdown(least time.Duration) {
	c.supervisor.close()
	c.StopAll(least)
}

// StopAll stops every container that runs, all at once, each by its own signal and within
// its own timeout, as an engine does that ends, or starts, without live restore. Nobody
// asked for that: policies hold, and Supervise, or the next engine, starts again what they
// want up. What waits for a restart goes on waiting.
//
// It returns when all have ended and those who wait for it know, or when they should have:
// after least (negative: never), but not before the longest timeout and some grace.
func (c *Containers) StopAll(least time.Duration) {
	var stops sync.WaitGroup
	timeouts := []time.Duration{}
	for _, k := range c.index.all() {
		if k.rec().isRunning() {
			_, timeout, _ := c.howToStop(k.rec().Config, "", nil)
			timeouts = append(timeouts, timeout)
		}
		stops.Go(func() { c.stopUnasked(k) }) // of those too that are being started
	}
	done := make(chan struct{})
	go func() { stops.Wait(); close(done) }()
	var late <-chan time.Time // never
	if d := stopBound(least, timeouts); d >= 0 {
		late = time.After(d)
	}
	select {
	case <-done:
	case <-late:
		c.log.Error("not all containers have ended in time")
	}
}

// stopUnasked stops a container, if it runs, without a mark that somebody wanted that.
func (c *Containers) stopUnasked(k *Container) {
	ctx := context.Background()
	k.op.lock(ctx)
	k.mu.Lock()
	p := k.process
	if p != nil {
		p.halted = true
	}
	k.mu.Unlock()
	k.op.unlock()
	if p == nil {
		return
	}
	c.log.Info("stopping a container, for the engine ends or starts without live restore", "container", k.id)
	number, timeout, err := c.howToStop(k.rec().Config, "", nil)
	if err != nil {
		number = unix.SIGTERM // an image may name a signal that there is not
	}
	if err := c.stop(ctx, k, p, number, timeout); err != nil {
		c.log.Error("cannot stop a container", "container", k.id, "error", err)
		return
	}
	c.event(k, events.ActionStop)
	k.op.lock(ctx) // who recorded the exit holds it until all is told and given back
	k.op.unlock()
}

// stopGrace is what the end of a container may take beyond its timeout, as with dockerd.
const stopGrace = 5 * time.Second

// stopBound is how long to wait for containers with these timeouts, negative: for ever. As
// with dockerd the longest of all counts, so that a database that was given a minute has it.
func stopBound(least time.Duration, timeouts []time.Duration) time.Duration {
	bound := least
	for _, t := range timeouts {
		if t < 0 || bound < 0 {
			return -1
		}
		bound = max(bound, t+stopGrace)
	}
	return bound
}
