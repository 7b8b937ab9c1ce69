package container

import (
	"slices"

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

// linkedHosts are the names and addresses of the containers that rec is linked to on the
// default network. They must run.
func (c *Containers) linkedHosts(rec *record) ([]network.Host, error) {
	if rec.Host.NetworkMode.IsUserDefined() {
		return nil, nil
	}
	var hosts []network.Host
	for _, l := range rec.Host.Links {
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
