package network

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"hoy/lib/fault"
	"hoy/linux/netlink"
	"hoy/network/ipam"
)

// restoreDefault makes the default network as the options say. What they leave open is as
// the bridge has it already, or as it was before.
func (n *Networks) restoreDefault(old *Network) error {
	o := &n.opts
	there, exists := netlink.Addresses(o.Bridge)
	if o.Foreign && !exists {
		return fault.New(fault.Forbidden, "bridge device with non default name %s must be created manually", o.Bridge)
	}
	if old != nil && old.Link != o.Bridge {
		if err := n.removeFormer(old); err != nil {
			return err
		}
	}
	if o.Bridge == "none" {
		return nil
	}
	net := Network{
		Name: "bridge", ID: newID(), Created: time.Now().UTC(), Driver: "bridge", IPv4: true, IPv6: o.IPv6, IPAMDriver: "default", Link: o.Bridge,
		Options: map[string]string{
			"com.docker.network.bridge.default_bridge":       "true",
			"com.docker.network.bridge.enable_icc":           strconv.FormatBool(!o.NoICC),
			"com.docker.network.bridge.enable_ip_masquerade": strconv.FormatBool(!o.NoMasq),
			"com.docker.network.bridge.host_binding_ipv4":    "0.0.0.0",
			"com.docker.network.bridge.name":                 o.Bridge,
			"com.docker.network.driver.mtu":                  "1500",
		},
	}
	if o.MTU > 0 {
		net.Options["com.docker.network.driver.mtu"] = strconv.Itoa(o.MTU)
	}
	if o.Bind.IsValid() {
		net.Options["com.docker.network.bridge.host_binding_ipv4"] = o.Bind.String()
	}
	net.Made = !exists
	if old != nil {
		net.ID = old.ID
		net.Made = net.Made || old.Made && old.Link == o.Bridge
		if !old.Created.IsZero() {
			net.Created = old.Created
		}
	}
	if err := n.defaultSubnets(&net, old, there); err != nil {
		return err
	}
	s, err := restored(&net)
	if err != nil {
		return err
	}
	s.mtu = o.MTU
	n.segments[net.ID] = s
	return nil
}

// removeFormer removes the bridge that the default network had, unless it is in use.
func (n *Networks) removeFormer(old *Network) error {
	if !old.Made {
		return nil
	}
	index, err := netlink.Index(old.Link)
	if err != nil {
		return nil // it is not there
	}
	ports, err := netlink.Ports(index)
	if err != nil || len(ports) > 0 {
		return err
	}
	return netlink.DelLink(old.Link)
}

// defaultSubnets decides on the subnets of the default network.
func (n *Networks) defaultSubnets(net *Network, old *Network, there []netip.Prefix) error {
	o := &n.opts
	for _, f := range []struct {
		on         bool
		v6         bool
		bip, fixed netip.Prefix
		gateway    netip.Addr
		aux        string
	}{
		{true, false, o.BIP, o.FixedCIDR, o.Gateway, "DefaultGatewayIPv4"},
		{o.IPv6, true, o.BIP6, o.FixedCIDR6, o.Gateway6, "DefaultGatewayIPv6"},
	} {
		if !f.on {
			continue
		}
		address, err := n.bridgeAddress(f.v6, f.bip, f.fixed, there, old)
		if err != nil {
			return err
		}
		sub := Subnet{Prefix: address.Masked(), Gateway: address.Addr(), Range: f.fixed}
		if f.gateway.IsValid() {
			sub.Reserved = map[string]netip.Addr{f.aux: f.gateway}
		}
		if err := checkSubnet(sub, true); err != nil {
			return err
		}
		if err := n.besideOthers(sub.Prefix); err != nil {
			return err
		}
		net.Subnets = append(net.Subnets, sub)
	}
	return nil
}

// besideOthers refuses a subnet of the default network's that another bridge has: an
// address would be two containers'.
func (n *Networks) besideOthers(subnet netip.Prefix) error {
	for _, s := range n.segments {
		for _, sub := range s.Subnets {
			if s.Driver == "bridge" && !s.ConfigOnly && subnet.Overlaps(sub.Prefix) {
				return fault.New(fault.Forbidden, "cannot give the default network the subnet %s: network %s has %s", subnet, s.Name, sub.Prefix)
			}
		}
	}
	return nil
}

// bridgeAddress decides on an address of the default bridge: what the user says, what the
// link has already, what it was before, or the first of a free subnet of the pools.
func (n *Networks) bridgeAddress(v6 bool, bip, fixed netip.Prefix, there []netip.Prefix, old *Network) (netip.Prefix, error) {
	if bip.IsValid() {
		if bip.Addr().Is6() != v6 || !v6 && bip.Bits() > 30 || bip.Bits() > 126 {
			return bip, fault.New(fault.Invalid, "cannot use %s as the bridge's address: give one with a prefix length that leaves room for containers", bip)
		}
		return bip, nil
	}
	suits := func(p netip.Prefix) bool {
		return p.Addr().Is6() == v6 && (!fixed.IsValid() || p.Contains(fixed.Addr()) && p.Bits() <= fixed.Bits())
	}
	if i := slices.IndexFunc(there, suits); i >= 0 {
		return there[i], nil
	}
	if old != nil {
		routes, err := netlink.Routes(old.Link)
		if err != nil {
			return netip.Prefix{}, err
		}
		for _, s := range old.Subnets {
			if p := netip.PrefixFrom(s.Gateway, s.Prefix.Bits()); p.IsValid() && suits(p) && !slices.ContainsFunc(routes, p.Overlaps) {
				return p, nil
			}
		}
	}
	subnet := fixed.Masked()
	if !subnet.IsValid() {
		w := n.world()
		others, err := w.taken()
		if err != nil {
			return subnet, err
		}
		if subnet, err = ipam.Choose(w.pools, v6, 0, append(others, w.nets...)); err != nil {
			return subnet, err
		}
	}
	return netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()), nil
}
