package container

import (
	"context"
	"math/rand/v2"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/container/spec"
	"hoy/lib/fault"
)

// Between two probes a health check is one timer: a thousand containers with checks
// cost no goroutine. A probe has one while it runs.

// watchHealth lets the health of p, the present process, be checked from now on. The
// lock of mu is held. resumed: an earlier engine has started p.
func (s *supervisor) watchHealth(k *Container, p *process, resumed bool) {
	check := newCheckup(k.rec().Config)
	if check == nil {
		return
	}
	h := newHealth(k.rec().Supervision.Health)
	k.updateLocked(func(r *record) { r.Supervision.Health = h })
	wait := check.wait(h.Status, time.Since(p.StartedAt))
	if resumed { // as with docker nobody knows its health, but that is soon found out
		wait = time.Duration(rand.Float64() * float64(min(wait, check.startInterval)))
	}
	p.probes = s.after(wait, func() { s.checkHealth(k, p, check) })
}

// checkHealth runs one probe, unless the container is paused, and arranges the next.
func (s *supervisor) checkHealth(k *Container, p *process, check *checkup) {
	k.mu.Lock()
	paused, pauses := k.rec().isPaused(), p.pauses
	k.mu.Unlock()
	var result *apicontainer.HealthcheckResult
	if !paused {
		result = s.probe(k, p, check)
	}
	k.mu.Lock()
	switch {
	case k.process != p:
		k.mu.Unlock()
		return // it has ended, and with it its health
	case p.pauses != pauses:
		result = nil // the probe had no fair chance
	}
	before := k.rec().Supervision.Health
	after := before
	if result != nil {
		s.count(result)
		after = check.judge(before, result, p.StartedAt)
		k.updateLocked(func(r *record) { r.Supervision.Health = after })
	}
	p.probes = s.after(check.wait(after.Status, time.Since(p.StartedAt)), func() { s.checkHealth(k, p, check) })
	k.mu.Unlock()
	if before.Status != after.Status || after.Status == apicontainer.Unhealthy {
		s.judged(k, p, before.Status != after.Status)
	}
}

// count counts a probe for the metrics.
func (s *supervisor) count(r *apicontainer.HealthcheckResult) {
	s.probed.Add(1)
	if r.ExitCode != 0 {
		s.failed.Add(1)
	}
}

// HealthChecks returns how many probes there were in this engine's life, and how many
// of them failed.
func (c *Containers) HealthChecks() (all, failed uint64) {
	return c.supervisor.probed.Load(), c.supervisor.failed.Load()
}

// endHealth ends the checks of a process that has ended. The lock of mu is held. As
// with docker, what does not run is not healthy.
func (k *Container) endHealth(p *process) {
	if p.probes != nil {
		p.probes.Stop()
	}
	if h := k.rec().Supervision.Health; h != nil {
		ended := *h
		ended.Status = apicontainer.Unhealthy
		k.updateLocked(func(r *record) { r.Supervision.Health = &ended })
	}
}

// healthJudged tells the world of a change, and does what --on-unhealthy asks for.
func (c *Containers) healthJudged(k *Container, p *process, changed bool) {
	status := k.rec().healthStatus()
	if changed {
		c.event(k, events.Action(string(events.ActionHealthStatus)+": "+string(status)))
		c.mustSave(k) // the next engine goes on from here
	}
	if status == apicontainer.Unhealthy {
		c.ail(k, p)
	}
}

// ail ends a process that is unhealthy, if that is asked for. The record says so
// first: if the engine ends meanwhile, the next one goes on.
func (c *Containers) ail(k *Container, p *process) {
	action := k.rec().Config.Labels[spec.OnUnhealthyLabel]
	if action != spec.OnUnhealthyRestart && action != spec.OnUnhealthyStop {
		return
	}
	k.mu.Lock()
	if k.process != p || p.halted || k.rec().Supervision.Ailing {
		k.mu.Unlock()
		return // somebody ends it already
	}
	p.probes.Stop()
	p.halted = action == spec.OnUnhealthyStop
	k.updateLocked(func(r *record) {
		r.Supervision.Ailing, r.Supervision.Stopped = !p.halted, r.Supervision.Stopped || p.halted
	})
	k.mu.Unlock()
	c.mustSave(k)
	c.endAiling(k, p)
}

// endAiling stops an unhealthy process as Stop does. It does not keep the engine from
// ending: the process has its signal, and the next engine waits for it anew.
func (c *Containers) endAiling(k *Container, p *process) {
	c.log.Info("ending an unhealthy container", "container", k.id)
	number, timeout, err := c.howToStop(k.rec().Config, "", nil)
	if err == nil {
		err = c.signal(k, p, number)
	}
	if timeout >= 0 && err == nil {
		t := time.NewTimer(timeout)
		defer t.Stop()
		select {
		case <-p.done:
		case <-c.closing:
		case <-t.C:
			err = c.end(context.Background(), k, p)
		}
	}
	if err != nil {
		c.log.Error("cannot end an unhealthy container", "container", k.id, "error", err)
	}
}

// resumeHealth goes on with the checks of a process that an earlier engine started.
func (c *Containers) resumeHealth(k *Container) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.process
	if p == nil {
		return
	}
	c.supervisor.watchHealth(k, p, true)
	if k.rec().Supervision.Ailing {
		c.later(func() { c.endAiling(k, p) })
	}
}

// setOnUnhealthy changes what becomes of a container when it is unhealthy.
func (k *Container) setOnUnhealthy(action string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	config := *k.rec().Config
	config.Labels = unite(map[string]string{spec.OnUnhealthyLabel: action}, config.Labels)
	if warning, err := spec.OnUnhealthy(&config, k.rec().Host); err != nil {
		return err
	} else if warning != "" {
		return fault.New(fault.Conflict, "the container has no health check: on-unhealthy would have no effect")
	}
	k.updateLocked(func(r *record) { r.Config = &config })
	return nil
}
