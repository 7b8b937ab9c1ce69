package network

import (
	"net/netip"
	"slices"

	"hoy/linux/netlink"
)

// avoidRoutes gives a network that nobody is on other subnets, if those that were chosen
// for it overlap what the machine has come to route elsewhere, to a VPN for example. A
// failure leaves it as it is.
func (n *Networks) avoidRoutes(ref string) {
	n.mu.Lock()
	s, err := n.find(ref)
	idle := err == nil && n.started && s.replaceable()
	n.mu.Unlock()
	if !idle || !s.overlapsRoutes() {
		return
	}
	n.stopReady(s) // before: what makes more may wait for who is changing networks
	n.changing.Lock()
	defer n.changing.Unlock()
	n.mu.Lock()
	idle = s.replaceable() && s.ready == nil && !s.gone && n.segments[s.ID] == s
	s.moving = idle // who joins it waits
	n.mu.Unlock()
	if !idle {
		return
	}
	next, err := n.replanned(s)
	n.mu.Lock()
	if s.moving = false; err == nil {
		n.segments[s.ID] = next
	}
	n.mu.Unlock()
	if err != nil {
		n.warn("give a network subnets that the machine does not route elsewhere", err)
		return
	}
	n.opts.Log.Warn("a network has got other subnets: the machine routes the former elsewhere", "network", s.Name, "former", s.Subnets, "subnets", next.Subnets)
}

// replaceable tells whether the network's subnets were chosen by an engine, and nobody
// uses them; the caller holds Networks.mu.
func (s *segment) replaceable() bool {
	return s.uses == 0 && s.index != 0 && s.Driver == "bridge" && !s.Predefined() &&
		slices.ContainsFunc(s.Subnets, func(sub Subnet) bool { return sub.Chosen })
}

func (s *segment) overlapsRoutes() bool {
	routes, err := netlink.Routes(s.Link)
	return err == nil && slices.ContainsFunc(s.Subnets, func(sub Subnet) bool {
		return sub.Chosen && slices.ContainsFunc(routes, sub.Prefix.Overlaps)
	})
}

// replanned makes the network anew with other subnets for those that were chosen. The
// caller holds changing.
func (n *Networks) replanned(s *segment) (*segment, error) {
	w := n.world()
	w.nets = slices.DeleteFunc(w.nets, func(p netip.Prefix) bool {
		return slices.ContainsFunc(s.Subnets, func(sub Subnet) bool { return sub.Prefix == p })
	})
	p := &plan{Network: s.Network, settings: s.settings}
	p.Subnets = nil
	for _, sub := range s.Subnets {
		again := sub
		if sub.Chosen {
			again = Subnet{}
		}
		if err := p.subnet(again, sub.is6(), w); err != nil {
			return nil, err
		}
	}
	next := &segment{Network: p.Network, settings: p.settings, hosts: p.hosts, unguarded: s.unguarded, admit: s.admit, direct: s.direct}
	if err := n.save(n.records(next)); err != nil {
		return nil, err
	}
	if err := n.bringUp(next); err != nil {
		n.warn("keep a network as it was", n.save(n.records(nil)))
		n.warn("keep a network as it was", n.bringUp(s))
		return nil, err
	}
	return next, nil
}
