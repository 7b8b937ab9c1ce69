package network

import (
	"context"
	"net/netip"
	"slices"

	"hoy/network/firewall"
)

// reach lets the last endpoint of the change reach others of its network, where that keeps
// its containers apart.
func (c *change) reach(s *segment, r EndpointRequest) error {
	if !s.noICC || s.Driver != "bridge" || len(r.Reach) == 0 {
		return nil
	}
	e := &c.s.Endpoints[len(c.s.Endpoints)-1]
	for _, to := range r.Reach {
		c.n.mu.Lock()
		other := c.n.placeOf(to.Container, s.ID)
		c.n.mu.Unlock()
		if other == nil {
			continue // it does not run, or is elsewhere
		}
		for _, pair := range [][2]netip.Prefix{{e.Address, other.Address}, {e.Address6, other.Address6}} {
			if pair[0].IsValid() && pair[1].IsValid() {
				e.Allowed = append(e.Allowed, firewall.Allow{From: pair[0].Addr(), To: pair[1].Addr(), Proto: to.Proto, Port: to.Port})
			}
		}
	}
	if len(e.Allowed) == 0 {
		return nil
	}
	allowed := e.Allowed
	c.undo.Add(func() { c.n.warn("take back an exception", c.n.firewall.Disallow(s.Link, allowed...)) })
	return c.n.firewall.Allow(s.Link, allowed...)
}

// Unreach takes back what let a container reach another one by a link. It returns how the
// container is attached now.
func (n *Networks) Unreach(ctx context.Context, containerID, network, other string) (_ *Sandbox, err error) {
	c, end, err := n.begin(ctx, containerID, nil)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	for i := range c.s.Endpoints {
		e := &c.s.Endpoints[i]
		s := c.segment(e)
		n.mu.Lock()
		to := n.placeOf(other, e.NetworkID)
		n.mu.Unlock()
		if e.Network != network || s == nil || to == nil || len(e.Allowed) == 0 {
			continue
		}
		gone := func(a firewall.Allow) bool { return a.To == to.Address.Addr() || a.To == to.Address6.Addr() }
		kept := slices.DeleteFunc(slices.Clone(e.Allowed), gone)
		if err := n.firewall.Disallow(s.Link, slices.DeleteFunc(slices.Clone(e.Allowed), func(a firewall.Allow) bool { return !gone(a) })...); err != nil {
			return nil, err
		}
		e.Allowed = kept
	}
	return c.s, nil
}

// placeOf returns a container's place in a network, or nil; the caller holds mu.
func (n *Networks) placeOf(containerID, networkID string) *Endpoint {
	m := n.attached[containerID]
	if m == nil {
		return nil
	}
	i := slices.IndexFunc(m.now.Endpoints, func(e Endpoint) bool { return e.NetworkID == networkID })
	if i < 0 {
		return nil
	}
	return &m.now.Endpoints[i]
}

// allowed returns the exceptions of a network; the caller holds mu.
func (n *Networks) allowed(networkID string) (all []firewall.Allow) {
	for _, m := range n.attached {
		for _, e := range m.now.Endpoints {
			if e.NetworkID == networkID {
				all = append(all, e.Allowed...)
			}
		}
	}
	return all
}

// disallow takes the exceptions back that name an endpoint which is leaving: whoever gets
// its address next shall not have them.
func (n *Networks) disallow(s *segment, e *Endpoint) {
	if !s.noICC {
		return
	}
	n.mu.Lock()
	gone := slices.Clone(e.Allowed)
	for _, a := range n.allowed(s.ID) {
		if a.To == e.Address.Addr() || a.To == e.Address6.Addr() {
			gone = append(gone, a)
		}
	}
	n.mu.Unlock()
	if len(gone) > 0 {
		n.warn("take back an exception", n.firewall.Disallow(s.Link, gone...))
	}
}
