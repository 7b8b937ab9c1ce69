package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"hoy/lib/fault"
)

// all returns the networks in the order of their age, the predefined ones first. The
// caller holds mu.
func (n *Networks) all() []*segment {
	l := make([]*segment, 0, len(n.segments))
	for _, s := range n.segments {
		l = append(l, s)
	}
	rank := func(s *segment) int {
		if i := slices.Index(predefined, s.Name); i >= 0 {
			return i
		}
		return len(predefined)
	}
	slices.SortFunc(l, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return l
}

// List returns every network, "bridge" first.
func (n *Networks) List() []*Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	var l []*Network
	for _, s := range n.all() {
		if !s.gone {
			l = append(l, &s.Network)
		}
	}
	return l
}

// Get returns the network with this id, this name, or the only one whose id begins so.
func (n *Networks) Get(ref string) (*Network, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	return &s.Network, nil
}

// find is Get; the caller holds mu.
func (n *Networks) find(ref string) (*segment, error) {
	if s := n.segments[ref]; s != nil && !s.gone {
		return s, nil
	}
	if s := n.named(ref); s != nil {
		return s, nil
	}
	var found []*segment
	for id, s := range n.segments {
		if ref != "" && strings.HasPrefix(id, ref) && !s.gone {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.NotFound, "network %s not found", ref)
	case 1:
		return found[0], nil
	}
	return nil, fault.New(fault.Invalid, "network %s is ambiguous (%d matches found based on ID prefix)", ref, len(found))
}

// named returns the network of this name, or nil; the caller holds mu.
func (n *Networks) named(name string) *segment {
	for _, s := range n.segments {
		if s.Name == name && !s.gone {
			return s
		}
	}
	return nil
}

// Endpoints returns the places of a network, by container.
func (n *Networks) Endpoints(networkID string) map[string]Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]Endpoint{}
	for id, m := range n.attached {
		if m.leaving {
			continue
		}
		for _, e := range m.now.Endpoints {
			if e.NetworkID == networkID {
				all[id] = e
			}
		}
	}
	return all
}

// SubnetUsage says how many addresses of a subnet are not to be had, and how many can still be
// given.
type SubnetUsage struct{ InUse, Available uint64 }

// Usage returns the usage of a network's subnets.
func (n *Networks) Usage(networkID string) map[netip.Prefix]SubnetUsage {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[netip.Prefix]SubnetUsage{}
	s := n.segments[networkID]
	if s == nil {
		return all
	}
	var held []netip.Addr // what is kept ready does not count
	for _, m := range n.attached {
		for _, e := range m.now.Endpoints {
			if e.NetworkID == networkID && !m.leaving {
				held = append(held, e.Address.Addr(), e.Address6.Addr())
			}
		}
	}
	for _, h := range s.hosts {
		used, free := h.Usage(held)
		all[h.Subnet()] = SubnetUsage{used, free}
	}
	return all
}

// Gateway returns the addresses by which containers of the default network reach the
// host; invalid: there is none.
func (n *Networks) Gateway() (v4, v6 netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.named("bridge")
	if s == nil {
		return v4, v6
	}
	for _, sub := range s.Subnets {
		if sub.Prefix.Addr().Is4() {
			v4 = sub.Gateway
		} else {
			v6 = sub.Gateway
		}
	}
	return v4, v6
}
