package network

import (
	"net/netip"
	"slices"

	"hoy/lib/fault"
	"hoy/network/firewall"
	"hoy/network/ipam"
)

// addresses decides on the subnets.
func (p *plan) addresses(asked []Subnet, w *world) error {
	v4, v6 := splitFamilies(asked)
	if p.IPv4 && len(v4) == 0 {
		v4 = []Subnet{{}}
	}
	if p.IPv6 && len(v6) == 0 {
		v6 = []Subnet{{}}
	}
	if p.Driver == "bridge" && (len(v4) > 1 || len(v6) > 1) {
		return fault.New(fault.Forbidden, "bridge driver doesn't support multiple subnets")
	}
	for _, f := range []struct {
		on      bool
		is6     bool
		subnets []Subnet
	}{{p.IPv4, false, v4}, {p.IPv6, true, v6}} {
		for _, s := range f.subnets {
			if !f.on {
				continue
			}
			if err := p.subnet(s, f.is6, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func splitFamilies(subnets []Subnet) (v4, v6 []Subnet) {
	for _, s := range subnets {
		if s.is6() {
			v6 = append(v6, s)
		} else {
			v4 = append(v4, s)
		}
	}
	return v4, v6
}

func (s *Subnet) is6() bool {
	return s.Prefix.Addr().Is6() || s.Range.Addr().Is6() || s.Gateway.Is6()
}

// subnet adds one.
func (p *plan) subnet(s Subnet, is6 bool, w *world) error {
	if !s.Prefix.IsValid() || s.Prefix.Addr().IsUnspecified() {
		// An unspecified one says how large it shall be: 0.0.0.0/26.
		if s.Range.IsValid() || s.Gateway.IsValid() || len(s.Reserved) > 0 {
			return fault.New(fault.Invalid, "invalid network config:\nip-range, gateway and auxiliary addresses need a subnet")
		}
		taken, err := w.taken()
		if err != nil {
			return err
		}
		if s.Prefix, err = ipam.Choose(w.pools, is6, max(s.Prefix.Bits(), 0), append(taken, w.nets...)); err != nil {
			return err
		}
		s.Chosen = true
	} else if slices.ContainsFunc(w.nets, s.Prefix.Overlaps) && !(p.Driver != "bridge" && s.Range.IsValid()) {
		return fault.New(fault.Forbidden, "invalid pool request: Pool overlaps with other one on this address space")
	}
	w.nets = append(w.nets, s.Prefix)
	h := ipam.NewHosts(s.Prefix, s.Range)
	var err error
	switch {
	case s.Gateway.IsValid():
		err = h.Claim(s.Gateway)
	case p.wantsGateway(is6):
		s.Gateway, err = h.Take()
	}
	if s.Gateway.IsValid() {
		h.Fix(s.Gateway)
	}
	if err != nil {
		return fault.New(fault.Invalid, "failed to allocate gateway (%s): %w", s.Gateway, err)
	}
	for name, a := range s.Reserved {
		if err := h.Claim(a); err != nil {
			return fault.New(fault.Invalid, "failed to allocate secondary ip address (%s:%s): %w", name, a, err)
		}
		h.Fix(a)
	}
	p.Subnets, p.hosts = append(p.Subnets, s), append(p.hosts, h)
	return nil
}

// wantsGateway tells whether a subnet needs a gateway although nobody named one: only a
// bridge is one itself.
func (p *plan) wantsGateway(is6 bool) bool {
	switch {
	case p.Driver != "bridge":
		return false
	case is6:
		return p.mode6 != firewall.Isolated
	}
	return p.mode != firewall.Isolated && !(p.inhibit && p.Internal)
}

// checkSubnet refuses a subnet whose parts do not belong together.
func checkSubnet(s Subnet, v6 bool) error {
	if !s.Prefix.IsValid() || s.is6() && !v6 {
		return nil
	}
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "invalid network config:\n"+format, args...)
	}
	family := 4
	if s.Prefix.Addr().Is6() {
		family = 6
	}
	if err := checkPrefix6(s.Prefix); err != nil {
		return err
	}
	switch r := s.Range; {
	case s.Prefix != s.Prefix.Masked():
		return bad("invalid subnet %s: it should be %s", s.Prefix, s.Prefix.Masked())
	case !r.IsValid():
	case r.Addr().Is4() != s.Prefix.Addr().Is4():
		return bad("invalid ip-range %s: parent subnet is an IPv%d block", r, family)
	case r.Bits() < s.Prefix.Bits():
		return bad("invalid ip-range %s: CIDR block is bigger than its parent subnet %s", r, s.Prefix)
	case r != r.Masked():
		return bad("invalid ip-range %s: it should be %s", r, r.Masked())
	case !s.Prefix.Overlaps(r):
		return bad("invalid ip-range %s: parent subnet %s doesn't contain ip-range", r, s.Prefix)
	}
	check := func(what string, a netip.Addr) error {
		switch {
		case !a.IsValid() || s.Prefix.Contains(a):
			return nil
		case a.Is4() != s.Prefix.Addr().Is4():
			return bad("invalid %s: parent subnet is an IPv%d block", what, family)
		}
		return bad("invalid %s: parent subnet %s doesn't contain this address", what, s.Prefix)
	}
	if err := check("gateway "+s.Gateway.String(), s.Gateway); err != nil {
		return err
	}
	for name, a := range s.Reserved {
		if err := check("auxiliary address "+name, a); err != nil {
			return err
		}
	}
	return nil
}

// checkPrefix6 refuses an IPv6 subnet that the kernel would not treat as one.
func checkPrefix6(p netip.Prefix) error {
	linkLocal := netip.MustParsePrefix("fe80::/64")
	switch {
	case p.Addr().Is4():
	case p.Addr().Is4In6():
		return fault.New(fault.Invalid, "'%s' is not a valid IPv6 subnet", p)
	case p.Addr().IsMulticast():
		return fault.New(fault.Invalid, "multicast subnet '%s' is not allowed", p)
	case p.Masked() != linkLocal && linkLocal.Overlaps(p) && !p.Addr().IsUnspecified():
		return fault.New(fault.Invalid, "'%s' clashes with the Link-Local prefix 'fe80::/64'", p)
	}
	return nil
}
