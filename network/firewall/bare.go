package firewall

import (
	"net/netip"

	"hoy/linux/nft"
)

// bare tells whether an address is of a family whose packets are left alone.
func (f *Firewall) bare(a netip.Addr) bool {
	return a.Is4() && f.opts.Bare4 || a.Is6() && f.opts.Bare6
}

// ruled is what of a network rules are made for; ok is false if it is nothing.
func (f *Firewall) ruled(n Network) (_ Network, ok bool) {
	if n.Subnet.IsValid() && f.bare(n.Subnet.Addr()) {
		n.Subnet = netip.Prefix{}
	}
	if n.Subnet6.IsValid() && f.bare(n.Subnet6.Addr()) {
		n.Subnet6 = netip.Prefix{}
	}
	return n, n.Subnet.IsValid() || n.Subnet6.IsValid()
}

// spare lets a family's packets that are to be left alone pass the table's chains.
func (o Options) spare(t nft.Table) nft.Table {
	var rule nft.Rule
	switch {
	case o.Bare4:
		rule = nft.NewRule("IPv4 is left alone (--iptables=false)", nft.Family(nft.IPv4), nft.Return())
	case o.Bare6:
		rule = nft.NewRule("IPv6 is left alone (--ip6tables=false)", nft.Family(nft.IPv6), nft.Return())
	default:
		return t
	}
	for i, c := range t.Chains {
		if c.Hook != nil {
			t.Chains[i].Rules = append([]nft.Rule{rule}, c.Rules...)
		}
	}
	return t
}
