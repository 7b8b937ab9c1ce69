package network

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"

	"hoy/lib/fault"
	"hoy/linux/netlink"
	"hoy/network/firewall"
	"hoy/network/ipam"
)

// segment is a network with what there is of it here and now.
type segment struct {
	Network
	settings
	hosts     []*ipam.Hosts // of Subnets
	unguarded bool
	admit     firewall.AdmitMark
	direct    bool

	// Guarded by Networks.mu.
	index  int   // of the bridge or the parent link; 0: it is not up
	uses   int   // endpoints, and changes in progress that need the network
	gone   bool  // it is being removed, or has been
	moving bool  // it is getting other subnets, by who holds Networks.changing
	ready  *pool // nil: none
}

// hasNames tells whether containers find each other on the network by name.
func (s *segment) hasNames() bool {
	return !s.Predefined() && !s.ConfigOnly
}

// rules is what the firewall needs to know of a bridge.
func (s *segment) rules() firewall.Network {
	f := firewall.Network{
		Name: s.Name, Link: s.Link, Internal: s.Internal, NoICC: s.noICC, Mode: s.mode, Mode6: s.mode6,
		NoMasq: s.noMasq, NoMasq6: s.noMasq, Source: s.source, Source6: s.source6, Trusted: s.trusted, Unguarded: s.unguarded, Admit: s.admit, Direct: s.direct,
	}
	for _, sub := range s.Subnets {
		if sub.is6() {
			f.Subnet6 = sub.Prefix
		} else {
			f.Subnet = sub.Prefix
		}
	}
	return f
}

// up makes what the network has in the kernel, as far as it is not there, and returns the
// index of its link.
func (n *Networks) up(s *segment) (index int, err error) {
	if err := n.apart(s); err != nil {
		return 0, err
	}
	switch {
	case s.ConfigOnly || s.Driver == "host" || s.Driver == "null":
		return 0, nil
	case s.Driver == "bridge":
		return s.upBridge()
	}
	return s.upParent()
}

func (s *segment) upBridge() (int, error) {
	for _, sub := range s.Subnets {
		if err := forwardPackets(sub.is6()); err != nil && !s.Internal {
			return 0, err
		}
	}
	b := netlink.Bridge{Name: s.Link, MTU: s.mtu, Group: firewall.Group, Addresses: s.bridgeAddresses(), Keep: s.inhibit}
	if len(b.Addresses) > 0 {
		b.MAC = macOf(b.Addresses[0].Addr())
	} else {
		b.MAC = macOf(s.Subnets[0].Prefix.Addr())
		b.MAC[1]++ // the address may be a container's
	}
	index, _, err := b.Ensure()
	return index, err
}

// bridgeAddresses are those that the bridge has, with their subnets' lengths.
func (s *segment) bridgeAddresses() (l []netip.Prefix) {
	for _, sub := range s.Subnets {
		if sub.Gateway.IsValid() && (sub.is6() || !s.inhibit) {
			l = append(l, netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()))
		}
	}
	return l
}

// down takes away what the network has in the kernel.
func (n *Networks) down(s *segment) error {
	if s.ConfigOnly || s.Driver == "host" || s.Driver == "null" {
		return nil
	}
	var err error
	if s.Driver == "bridge" {
		err = n.firewall.RemoveNetwork(s.Link)
	}
	n.mu.Lock()
	s.index = 0
	mine := s.Made && !n.sharesLink(s)
	n.mu.Unlock()
	if mine {
		err = errors.Join(err, netlink.DelLink(s.Link))
	}
	return err
}

// gateway returns where containers send what leaves the network: invalid for nowhere,
// unspecified for the link itself.
func (s *segment) gateway(sub *Subnet) netip.Addr {
	mode, aux := s.mode, "DefaultGatewayIPv4"
	if sub.is6() {
		mode, aux = s.mode6, "DefaultGatewayIPv6"
	}
	switch {
	case s.Internal || mode == firewall.Isolated || s.Driver != "bridge" && s.parent == "":
		return netip.Addr{}
	case s.Driver == "bridge" && sub.Reserved[aux].IsValid():
		return sub.Reserved[aux]
	case s.Driver == "ipvlan" && s.submode != "" && s.submode != "l2":
		if sub.is6() {
			return netip.IPv6Unspecified()
		}
		return netip.IPv4Unspecified()
	}
	return sub.Gateway
}

// randomMAC returns a link address for an endpoint. One that followed from the network
// address would meet itself where networks with the same subnets share a segment. Who gets
// an address again later announces it.
func randomMAC() net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	rand.Read(mac)
	mac[0] = mac[0]&^1 | 2 // one machine's, administered locally
	return mac
}

// macOf derives the link address of a bridge from its network address: containers remember
// it whatever the engine does.
func macOf(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	return append(net.HardwareAddr{0x02, 0x42}, b[len(b)-4:]...)
}

// claim takes an address of the network for an endpoint: the one that is asked for, or
// any. It returns an invalid one where the network has none of this kind.
func (s *segment) claim(v6 bool, want netip.Addr, evict func(*segment, netip.Addr) bool) (a netip.Prefix, gateway netip.Addr, err error) {
	for i, h := range s.hosts {
		sub := &s.Subnets[i]
		if sub.is6() != v6 || want.IsValid() && !sub.Prefix.Contains(want) {
			continue
		}
		got := want
		try := func() (err error) {
			if want.IsValid() {
				return h.Claim(want)
			}
			got, err = h.Take()
			return err
		}
		if err = try(); err != nil && evict(s, want) {
			err = try()
		}
		if err == nil {
			return netip.PrefixFrom(got, sub.Prefix.Bits()), s.gateway(sub), nil
		}
	}
	if err == nil && want.IsValid() {
		err = fault.New(fault.Invalid, "invalid endpoint settings: no configured subnet contains IP address %s", want)
	}
	return netip.Prefix{}, netip.Addr{}, err
}

// release gives an address back.
func (s *segment) release(a netip.Addr) {
	for _, h := range s.hosts {
		if h.Subnet().Contains(a) {
			h.Release(a)
		}
	}
}
