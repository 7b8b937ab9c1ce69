package container

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/keeper"
	"hoy/network"
)

// catchUp brings a record up to a run that has begun after it was saved: what it says of the
// run before holds no more. Only of a start by its policy the count goes on.
func (s *supervision) catchUp(status apicontainer.ContainerState) {
	s.Health, s.Ailing = nil, false
	if status != apicontainer.StateRestarting {
		s.Restarts, s.Stopped = 0, false
	}
}

// recall takes over what the container's networks were last asked during a run, which an
// engine that was killed may not have saved. It tells whether that is new.
func (r *record) recall(run *running) bool {
	if run.Asked == nil {
		return false
	}
	is := asked{r.Endpoints, r.Host.PortBindings}
	before, err := json.Marshal(is)
	after, err2 := json.Marshal(run.Asked)
	if err != nil || err2 != nil || bytes.Equal(before, after) {
		return false
	}
	host := *r.Host
	host.PortBindings = run.Asked.Ports
	r.Endpoints, r.Host = run.Asked.Endpoints, &host
	return true
}

// rename gives the container's places in networks the names that it has now: it may have
// been renamed since they were recorded.
func (r *record) rename(s *network.Sandbox) {
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if asked := r.Endpoints[e.Network]; asked != nil && userDefined(e.Network) {
			e.Names = r.dnsNames(asked.Aliases)
		}
	}
}

// dismissAll ends processes that belong to nothing. Those of a container that is there have
// ended for the keeper when this returns, and count as starts of it: the next one would
// otherwise be taken for the same, and get such a process, or be refused.
func (c *Containers) dismissAll(ctx context.Context, list []keeper.Held) error {
	var dying []string
	for _, h := range list {
		c.dismiss(h)
		k, err := c.index.get(h.ID)
		if err != nil || k.id != h.ID {
			continue
		}
		k.update(func(r *record) { r.State.Generation = max(r.State.Generation, h.Generation) })
		if h.Exit == nil {
			dying = append(dying, h.ID)
		}
	}
	for end := time.Now().Add(patience); len(dying) > 0 && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		held, err := c.o.Keeper.List(ctx)
		if err != nil {
			return err
		}
		dying = slices.DeleteFunc(dying, func(id string) bool {
			return !slices.ContainsFunc(held, func(h keeper.Held) bool { return h.ID == id && h.Exit == nil })
		})
	}
	return nil
}
