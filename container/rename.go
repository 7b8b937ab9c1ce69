package container

import (
	"context"
	"strings"

	"github.com/moby/moby/api/types/events"

	"hoy/lib/fault"
)

// Rename gives a container another name, running or not. Until the record is on disk
// the container has both: a crash leaves it with one of them.
func (c *Containers) Rename(ctx context.Context, ref, name string) error {
	name = strings.TrimSpace(name)
	if strings.TrimPrefix(ref, "/") == "" || strings.TrimPrefix(name, "/") == "" {
		return fault.New(fault.Invalid, "Neither old nor new names may be empty")
	}
	k, err := c.claim(ctx, ref)
	if err != nil {
		return err
	}
	defer k.op.unlock()
	old := k.rec().Name
	switch {
	case c.index.gone(k):
		return fault.New(fault.NotFound, "No such container: %s", ref)
	case old == strings.TrimPrefix(name, "/"):
		return fault.New(fault.Invalid, "Renaming a container with the same name as its current name")
	}
	if name, err = checkName("/" + strings.TrimPrefix(name, "/")); err == nil {
		err = c.index.reserve(name, k.id)
	}
	if err != nil {
		return fault.New(fault.KindOf(err), "Error when allocating new name: %w", err)
	}
	k.update(func(r *record) { r.Name = name })
	if err := c.save(k); err != nil {
		k.update(func(r *record) { r.Name = old })
		c.index.release(name, k.id)
		return err
	}
	c.index.release(old, k.id)
	c.renameInNetworks(ctx, k)
	c.event(k, events.ActionRename, "oldName", "/"+old)
	return nil
}

// renameInNetworks has the networks of a running container know it by its new name.
func (c *Containers) renameInNetworks(ctx context.Context, k *Container) {
	r := k.rec()
	for name, e := range r.Endpoints {
		if !userDefined(name) || r.State.endpoint(name) == nil {
			continue
		}
		if err := c.o.Networks.Rename(ctx, k.id, name, r.dnsNames(e.Aliases)); err != nil {
			c.log.Warn("a network knows a container by its old name", "container", k.id, "network", name, "error", err)
		}
	}
}
