package container

import (
	"context"
	"errors"
	"reflect"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/container/spec"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// Update changes limits and the restart policy of a container, which it does at once
// if it runs. The kernel is asked first, then the record is written; if either fails
// everything stays as it was. What was under way when the engine was killed the next one
// completes. Of h only Resources, RestartPolicy and the annotation
// spec.OnUnhealthyLabel count, which for a container that is there stands for its
// label: zero values leave what is.
func (c *Containers) Update(ctx context.Context, ref string, h *apicontainer.HostConfig) (apicontainer.UpdateResponse, error) {
	warnings, err := spec.ValidateUpdate(h, c.host())
	if err != nil {
		return apicontainer.UpdateResponse{}, err
	}
	k, err := c.claim(ctx, ref)
	if err != nil {
		return apicontainer.UpdateResponse{}, err
	}
	defer k.op.unlock()
	done, err := c.intend(k, h)
	if err == nil {
		err = c.update(k, h)
		done()
	}
	if err != nil {
		return apicontainer.UpdateResponse{}, fault.New(fault.KindOf(err), "Cannot update container %s: %w", k.id, err)
	}
	c.event(k, events.ActionUpdate)
	return apicontainer.UpdateResponse{Warnings: warnings}, nil
}

// intend writes down the limits that a running container is about to get; done takes that back.
func (c *Containers) intend(k *Container, h *apicontainer.HostConfig) (done func(), err error) {
	run := k.rec().State.Running
	if run == nil || reflect.ValueOf(h.Resources).IsZero() {
		return func() {}, nil
	}
	with := *run
	with.Update = &pendingUpdate{h.Resources, h.RestartPolicy, h.Annotations[spec.OnUnhealthyLabel]}
	if err := c.writeRunning(&with); err != nil {
		return nil, err
	}
	return func() {
		now := k.rec().State.Running
		if now == nil {
			return // it has ended meanwhile
		}
		if err := c.writeRunning(now); err != nil {
			c.log.Error("cannot save the state of a container", "container", k.id, "error", err)
		}
	}, nil
}

// completeUpdate does what an engine that was killed has begun.
func (c *Containers) completeUpdate(k *Container) {
	run := *k.rec().State.Running
	u := run.Update
	if u == nil {
		return
	}
	run.Update = nil
	k.update(func(r *record) { r.State.Running = &run })
	h := &apicontainer.HostConfig{Resources: u.Resources, RestartPolicy: u.RestartPolicy, Annotations: map[string]string{spec.OnUnhealthyLabel: u.OnUnhealthy}}
	if err := errors.Join(c.update(k, h), c.writeRunning(&run)); err != nil {
		c.log.Error("cannot complete the update of a container", "container", k.id, "error", err)
	}
}

// update is Update with the operation lock held.
func (c *Containers) update(k *Container, h *apicontainer.HostConfig) error {
	k.mu.Lock()
	gone := k.removing || c.index.gone(k) || k.rec().State.Status == apicontainer.StateDead
	p := k.process
	k.mu.Unlock()
	if gone {
		return fault.New(fault.Conflict, `container is marked for removal and cannot be "update"`)
	}
	old, config := k.rec().Host, k.rec().Config
	merged, changed, err := spec.Update(old.Resources, h.Resources)
	if err != nil {
		return err
	}
	if merged.Memory > 0 && merged.MemorySwap == 0 && c.host().SwapLimit {
		merged.MemorySwap = 2 * merged.Memory // as for a container that is created
		changed.MemorySwap = merged.MemorySwap
	}
	if action := h.Annotations[spec.OnUnhealthyLabel]; action != "" {
		if err := k.setOnUnhealthy(action); err != nil {
			return err
		}
	}
	if h.RestartPolicy.Name != "" {
		if err := k.setRestartPolicy(h.RestartPolicy); err != nil {
			k.update(func(r *record) { r.Config = config })
			return err
		}
	}
	undo := func() error { return nil }
	if p != nil {
		undo, err = c.setLimits(p, changed, old.Resources)
	}
	if err == nil {
		k.setHost(func(h *apicontainer.HostConfig) { h.Resources = merged })
		if err = failpoint.Hit(failpoint.ContainerLimited); err == nil {
			err = c.save(k)
		}
		if err == nil {
			if p != nil {
				c.watchOOM(k, p)
			}
			return nil
		}
		err = errors.Join(err, undo())
	}
	k.setHost(func(h *apicontainer.HostConfig) { h.Resources, h.RestartPolicy = old.Resources, old.RestartPolicy })
	k.update(func(r *record) { r.Config = config })
	return err
}

// setHost stores a changed copy of the container's host configuration.
func (k *Container) setHost(change func(*apicontainer.HostConfig)) {
	k.update(func(r *record) {
		h := *r.Host
		change(&h)
		r.Host = &h
	})
}

// setLimits sets limits of a running container. old are those that it has.
func (c *Containers) setLimits(p *process, r, old apicontainer.Resources) (undo func() error, err error) {
	limits, err := limitsOf(r)
	if err != nil {
		return nil, err
	}
	if p.task == nil {
		return p.cgroup.Set(limits)
	}
	before, err := limitsOf(old)
	if err != nil {
		return nil, err
	}
	return func() error { return p.task.update(before) }, p.task.update(limits)
}

func limitsOf(r apicontainer.Resources) (*specs.LinuxResources, error) {
	numbers, err := blockDevices(&apicontainer.HostConfig{Resources: r})
	if err != nil {
		return nil, err
	}
	return spec.Resources(&r, numbers)
}
