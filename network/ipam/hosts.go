// Package ipam plans addresses: which subnet a network gets, and which address of it a
// container. It knows nothing of the kernel.
package ipam

import (
	"math"
	"net/netip"
	"slices"
	"sync"

	"hoy/lib/fault"
)

// Hosts hands out the addresses of one subnet, each to one holder, the lowest first as
// dockerd does.
type Hosts struct {
	subnet netip.Prefix
	rng    netip.Prefix // what Take gives from

	mu    sync.Mutex
	used  map[netip.Addr]bool
	fixed []netip.Addr // used by nobody, or by the network itself
	low   netip.Addr   // all of the range below are used
}

// NewHosts returns the addresses of subnet. Take gives those in rng, an invalid one
// stands for all. The first of an IPv4 subnet names the network and the last is for
// broadcast, unless there are no others (RFC 3021, section 2.1); the first of an IPv6
// subnet is any router's (RFC 4291, section 2.6.1).
func NewHosts(subnet, rng netip.Prefix) *Hosts {
	subnet = subnet.Masked()
	if !rng.IsValid() || rng.Bits() < subnet.Bits() {
		rng = subnet
	}
	h := &Hosts{subnet: subnet, rng: rng.Masked(), used: map[netip.Addr]bool{}}
	h.low = h.rng.Addr()
	if v4 := subnet.Addr().Is4(); !v4 || subnet.Bits() < 31 {
		h.Fix(subnet.Addr())
		if v4 {
			h.Fix(Last(subnet))
		}
	}
	return h
}

// Subnet returns the subnet.
func (h *Hosts) Subnet() netip.Prefix { return h.subnet }

// Take returns the lowest address of the range that nobody has.
func (h *Hosts) Take() (netip.Addr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ; h.rng.Contains(h.low); h.low = h.low.Next() {
		if !h.used[h.low] {
			h.used[h.low] = true
			return h.low, nil
		}
	}
	return netip.Addr{}, fault.New(fault.Unavailable, "no available IPv%d addresses on this network's address pools: all of %s are in use", version(h.rng), h.rng)
}

// Claim takes exactly addr.
func (h *Hosts) Claim(addr netip.Addr) error {
	if !h.subnet.Contains(addr) {
		return fault.New(fault.Invalid, "invalid address %s: it does not belong to subnet %s", addr, h.subnet)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.used[addr] {
		return fault.New(fault.Forbidden, "Address already in use")
	}
	h.used[addr] = true
	return nil
}

// Release gives addr back; one that nobody has is no error.
func (h *Hosts) Release(addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.used, addr)
	if h.rng.Contains(addr) && (!h.rng.Contains(h.low) || addr.Less(h.low)) {
		h.low = addr
	}
}

// Fix takes an address for the network itself, or for somebody beside it. One that is
// used already stays so.
func (h *Hosts) Fix(addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used[addr] = true
	h.fixed = append(h.fixed, addr)
}

// Usage returns how many addresses of the subnet are not to be had, and how many Take
// could still give, 1<<64-1 at most, if the holders were the only ones.
func (h *Hosts) Usage(holders []netip.Addr) (used, free uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[netip.Addr]bool{}
	inRange := uint64(0)
	for _, a := range slices.Concat(h.fixed, holders) {
		if seen[a] || !h.subnet.Contains(a) {
			continue
		}
		seen[a] = true
		used++
		if h.rng.Contains(a) {
			inRange++
		}
	}
	switch bits := h.rng.Addr().BitLen() - h.rng.Bits(); {
	case bits > 64:
		return used, math.MaxUint64
	case bits == 64 && inRange == 0:
		return used, math.MaxUint64
	default:
		return used, 1<<bits - inRange // modulo 1<<64
	}
}

// Last returns the last address of a prefix.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func version(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 4
	}
	return 6
}
