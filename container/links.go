package container

import (
	"context"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/lib/fault"
	"hoy/network"
)

// Links of the default network, which has no names: a link puts the address of another
// container into /etc/hosts. On other networks a link is a name for this container alone
// (EndpointSettings.Links).

// pinLinks names the linked containers by their ids: names change.
func (c *Containers) pinLinks(h *apicontainer.HostConfig) error {
	if h.NetworkMode.IsUserDefined() {
		return nil
	}
	for i, l := range h.Links {
		name, alias := splitLink(l)
		k, err := c.index.get(name)
		if err != nil {
			return fault.New(fault.Invalid, "could not get container for %s: %w", name, err) // not found would mean the image to clients
		}
		if k.rec().Host.NetworkMode.IsHost() {
			return fault.New(fault.Invalid, "conflicting options: host type networking can't be used with links. This would result in undefined behavior")
		}
		h.Links[i] = k.id + ":" + alias
	}
	return nil
}

// pinnedLinks are the container's links of the default network, id:alias.
func (r *record) pinnedLinks() []string {
	if r.Host.NetworkMode.IsUserDefined() {
		return nil
	}
	return r.Host.Links
}

// linkPaths are the names, /PARENT/ALIAS, that containers have as others' links, by id.
func (c *Containers) linkPaths() map[string][]string {
	paths := map[string][]string{}
	for _, k := range c.index.all() {
		r := k.rec()
		for _, l := range r.pinnedLinks() {
			id, alias := splitLink(l)
			paths[id] = append(paths[id], "/"+r.Name+"/"+alias)
		}
	}
	for _, l := range paths {
		slices.Sort(l)
	}
	return paths
}

// unlink removes a link of the default network, PARENT/ALIAS. Both containers go on.
func (c *Containers) unlink(ctx context.Context, ref string) error {
	parent, alias, is := strings.Cut(strings.TrimPrefix(ref, "/"), "/")
	if !is {
		if _, err := c.index.get(ref); err != nil {
			return err
		}
		return fault.New(fault.Conflict, "Conflict, cannot remove the default link name of the container")
	}
	k, err := c.claimPresent(ctx, parent)
	if err != nil {
		return fault.New(fault.KindOf(err), "Cannot get parent %s for link name %s", parent, ref)
	}
	defer k.op.unlock()
	was := k.rec()
	i := slices.IndexFunc(was.pinnedLinks(), func(l string) bool { _, a := splitLink(l); return a == alias })
	if i < 0 {
		return fault.New(fault.NotFound, "No such container: %s", ref)
	}
	k.setHost(func(h *apicontainer.HostConfig) { h.Links = slices.Delete(slices.Clone(h.Links), i, i+1) })
	if err := c.save(k); err != nil {
		return err
	}
	return c.unlinked(ctx, k, was, was.Host.Links[i])
}

// unlinked has a running container do without a link that it had.
func (c *Containers) unlinked(ctx context.Context, k *Container, was *record, link string) error {
	rec := k.rec()
	if rec.State.sandbox() == nil {
		return nil
	}
	id, _ := splitLink(link)
	if !slices.ContainsFunc(rec.Host.Links, func(l string) bool { other, _ := splitLink(l); return other == id }) {
		s, err := c.o.Networks.Unreach(ctx, k.id, "bridge", id)
		if err != nil {
			return err
		}
		k.setSandbox(s)
		if run := k.rec().State.Running; run != nil {
			if err := c.writeRunning(run); err != nil {
				return err
			}
		}
	}
	return c.refreshEtc(was, rec, rec.State.endpoints(), rec.State.endpoints())
}

// linkedHosts are the names and addresses of the containers that rec is linked to on the
// default network. They must run.
func (c *Containers) linkedHosts(rec *record) ([]network.Host, error) {
	var hosts []network.Host
	for _, l := range rec.pinnedLinks() {
		id, alias := splitLink(l)
		k, err := c.index.get(id)
		if err != nil {
			continue // it was removed, and the link with it
		}
		other := k.rec()
		if !other.isRunning() {
			return nil, fault.New(fault.Conflict, "Cannot link to a non running container: /%s AS /%s/%s", other.Name, rec.Name, alias)
		}
		names := []string{alias}
		for _, n := range []string{other.Config.Hostname, other.Name} {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		if e := other.State.endpoint("bridge"); e != nil && e.Address.IsValid() {
			hosts = append(hosts, network.Host{Address: e.Address.Addr(), Names: names})
		}
	}
	return hosts, nil
}

// linkedPorts are the exposed ports of the containers that r is linked to: it reaches those
// on a default network that keeps its containers apart, too.
func (c *Containers) linkedPorts(r *record) (l []network.Reach) {
	for _, link := range r.Host.Links {
		id, _ := splitLink(link)
		k, err := c.index.get(id)
		if err != nil {
			continue
		}
		for p := range k.rec().Config.ExposedPorts {
			l = append(l, network.Reach{Container: k.id, Proto: string(p.Proto()), Port: p.Num()})
		}
	}
	return l
}

// shownHost is the host configuration as inspect shows it: links by the names that the
// containers have now.
func (c *Containers) shownHost(rec *record) *apicontainer.HostConfig {
	if len(rec.Host.Links) == 0 || rec.Host.NetworkMode.IsUserDefined() {
		return rec.Host
	}
	h := *rec.Host
	h.Links = nil
	for _, l := range rec.Host.Links {
		id, alias := splitLink(l)
		if k, err := c.index.get(id); err == nil {
			h.Links = append(h.Links, "/"+k.rec().Name+":/"+rec.Name+"/"+alias)
		}
	}
	return &h
}
