package network

import (
	"context"
	"net/netip"
	"slices"

	"hoy/lib/failpoint"
	"hoy/linux/netlink"
)

// Create makes a network. warnings say what of the request has no effect.
func (n *Networks) Create(ctx context.Context, r CreateRequest) (_ *Network, warnings []string, err error) {
	n.changing.Lock()
	defer n.changing.Unlock()
	p, warnings, err := newPlan(r, n.world())
	if err != nil {
		return nil, nil, err
	}
	s := &segment{Network: p.Network, settings: p.settings, hosts: p.hosts, unguarded: n.opts.Unguarded, admit: n.opts.Admit, direct: n.opts.Direct}
	if s.Link != "" {
		_, exists := netlink.Addresses(s.Link)
		s.Made = !exists || n.madeParent(s.Link)
	}
	if err := n.save(n.records(s)); err != nil {
		return nil, nil, err
	}
	err = failpoint.Hit(failpoint.NetworkPlanned)
	if err == nil {
		err = n.bringUp(s)
	}
	if err != nil {
		n.warn("forget a network that could not be made", n.save(n.records(nil)))
		return nil, nil, err
	}
	n.mu.Lock()
	n.segments[s.ID] = s
	n.mu.Unlock()
	return &s.Network, warnings, nil
}

// madeParent tells whether the link is one that another network has made.
func (n *Networks) madeParent(link string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.all(), func(s *segment) bool { return s.Link == link && s.Made })
}

// bringUp makes what the network has in the kernel; a failure leaves nothing.
func (n *Networks) bringUp(s *segment) error {
	index, err := n.up(s)
	if err != nil {
		return err
	}
	n.mu.Lock()
	s.index = index
	n.mu.Unlock()
	err = failpoint.Hit(failpoint.NetworkUp, s.Link)
	if err == nil && s.Driver == "bridge" && !s.ConfigOnly {
		err = n.firewall.AddNetwork(s.rules())
	}
	if err == nil {
		err = failpoint.Hit(failpoint.NetworkRuled, s.Link)
	}
	if err != nil {
		n.warn("remove a network that could not be made", n.down(s))
	}
	return err
}

// world is what a new network must go together with.
func (n *Networks) world() *world {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := &world{taken: taken, pools: n.opts.Pools}
	for _, s := range n.all() {
		w.networks = append(w.networks, &s.Network)
		if s.ConfigOnly {
			continue
		}
		for _, sub := range s.Subnets {
			w.nets = append(w.nets, sub.Prefix)
		}
	}
	return w
}

// taken are the addresses that the machine reaches by other ways: those that it routes,
// and its name servers.
func taken() ([]netip.Prefix, error) {
	ps, err := netlink.Routes()
	if err != nil {
		return nil, err
	}
	for _, a := range readResolvConf(hostResolv(readOrNil), false).Servers {
		ps = append(ps, netip.PrefixFrom(a.WithZone(""), a.BitLen()))
	}
	return ps, nil
}
