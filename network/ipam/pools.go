package ipam

import (
	"crypto/sha256"
	"net/netip"
	"slices"

	"hoy/lib/fault"
)

// Pool is a range from which subnets for new networks are cut.
type Pool struct {
	Base netip.Prefix // for example 172.17.0.0/16
	Size int          // prefix length of a subnet, for example 24
}

// DefaultPools are those of dockerd, in its order.
func DefaultPools() []Pool {
	var ps []Pool
	for n := 17; n <= 31; n++ {
		ps = append(ps, Pool{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(n), 0, 0}), 16), 16})
	}
	return append(ps, Pool{netip.MustParsePrefix("192.168.0.0/16"), 20})
}

// Reserve are the pools that come after the default ones, which hold 31 subnets: 65,536
// small ones of the range that is most seldom somebody's, from behind first.
func Reserve() []Pool {
	return []Pool{{netip.MustParsePrefix("10.192.0.0/10"), 24}, {netip.MustParsePrefix("10.0.0.0/8"), 24}}
}

// UniqueLocal is the pool of IPv6 subnets of an engine (RFC 4193), as dockerd derives it:
// 40 bits of the hash of the engine's id stand for the random number of section 3.2.2.
func UniqueLocal(engineID string) Pool {
	h := sha256.Sum256([]byte(engineID))
	a := [16]byte{0: 0xfd}
	copy(a[1:6], h[3:8])
	return Pool{netip.PrefixFrom(netip.AddrFrom16(a), 48), 64}
}

// Choose returns the first subnet of the pools, of the kind of address that v6 says, that
// overlaps none of taken. size is its prefix length, 0: the pool's.
func Choose(pools []Pool, v6 bool, size int, taken []netip.Prefix) (netip.Prefix, error) {
	possible := false
	for _, p := range pools {
		if size != 0 {
			p.Size = size
		}
		if p.Base.Addr().Is4() == v6 || p.Size < p.Base.Bits() || p.Size > p.Base.Addr().BitLen() {
			continue
		}
		possible = true
		if s, ok := p.first(taken); ok {
			return s, nil
		}
	}
	if !possible {
		return netip.Prefix{}, fault.New(fault.Invalid, "invalid address pool: no default address pool holds a subnet of %d bits", size)
	}
	return netip.Prefix{}, fault.New(fault.Invalid, "all predefined address pools have been fully subnetted: what is left overlaps a network or a route of this machine; give --subnet, or the engine --default-address-pool base=CIDR,size=N")
}

// first returns the first free subnet of the pool: it goes from one taken range to what
// is behind it, in their order.
func (p Pool) first(taken []netip.Prefix) (netip.Prefix, bool) {
	var inside []netip.Prefix
	for _, t := range taken {
		if p.Base.Overlaps(t) {
			inside = append(inside, t.Masked())
		}
	}
	slices.SortFunc(inside, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	s := netip.PrefixFrom(p.Base.Masked().Addr(), p.Size)
	for _, t := range inside {
		if !s.Overlaps(t) {
			if s.Addr().Less(t.Addr()) {
				return s, true
			}
			continue // it ends before s
		}
		if t.Bits() > s.Bits() {
			t = s
		}
		next := Last(t).Next()
		if !p.Base.Contains(next) {
			return netip.Prefix{}, false
		}
		s = netip.PrefixFrom(next, p.Size)
	}
	return s, true
}
