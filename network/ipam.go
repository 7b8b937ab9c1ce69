package network

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"hoy/lib/fault"
)

// addresses hands out the IPv4 host addresses of one subnet, each to one holder.
// It goes round: a released address is the last to be given again, so that
// neighbours' ARP entries and the links of the former holder are gone by then.
type addresses struct {
	subnet netip.Prefix
	first  uint32 // lowest host address
	count  uint32 // number of host addresses

	mu   sync.Mutex
	used map[uint32]bool // offsets from first
	next uint32          // offset to try first
}

// newAddresses returns the host addresses of subnet, which has 30 bits at most:
// all but the network and the broadcast address.
func newAddresses(subnet netip.Prefix) *addresses {
	a := subnet.Masked().Addr().As4()
	size := uint32(1) << (32 - subnet.Bits())
	return &addresses{subnet: subnet.Masked(), first: binary.BigEndian.Uint32(a[:]) + 1, count: size - 2, used: map[uint32]bool{}}
}

// take returns an address nobody has.
func (a *addresses) take() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range a.count {
		n := a.next
		a.next = (a.next + 1) % a.count
		if !a.used[n] {
			a.used[n] = true
			return a.addr(n), nil
		}
	}
	return netip.Addr{}, fault.New(fault.Unavailable, "no address left in %s: all %d are in use", a.subnet, a.count)
}

// claim takes exactly addr.
func (a *addresses) claim(addr netip.Addr) error {
	n, ok := a.offset(addr)
	if !ok {
		return fault.New(fault.Invalid, "address %s is not a host address of %s", addr, a.subnet)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used[n] {
		return fault.New(fault.Forbidden, "address %s is already in use", addr)
	}
	a.used[n] = true
	return nil
}

// release gives addr back; one that nobody has is no error.
func (a *addresses) release(addr netip.Addr) {
	if n, ok := a.offset(addr); ok {
		a.mu.Lock()
		delete(a.used, n)
		a.mu.Unlock()
	}
}

func (a *addresses) offset(addr netip.Addr) (uint32, bool) {
	if !addr.Is4() || !a.subnet.Contains(addr) {
		return 0, false
	}
	b := addr.As4()
	n := binary.BigEndian.Uint32(b[:]) - a.first
	return n, n < a.count
}

func (a *addresses) addr(offset uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], a.first+offset)
	return netip.AddrFrom4(b)
}

// Pool is a range from which subnets for new networks are cut.
type Pool struct {
	Base netip.Prefix // for example 172.17.0.0/16
	Size int          // prefix length of a subnet, for example 24
}

// DefaultPools are those of dockerd.
func DefaultPools() []Pool {
	var ps []Pool
	for n := 17; n <= 31; n++ {
		ps = append(ps, Pool{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(n), 0, 0}), 16), 16})
	}
	return append(ps, Pool{netip.MustParsePrefix("192.168.0.0/16"), 20})
}

// choose returns the first subnet of the pools that overlaps none of taken.
func choose(pools []Pool, taken []netip.Prefix) (netip.Prefix, error) {
	for _, p := range pools {
		base := p.Base.Masked().Addr().As4()
		start := binary.BigEndian.Uint32(base[:])
		step := uint64(1) << (32 - p.Size)
		for off := uint64(0); off < uint64(1)<<(32-p.Base.Bits()); off += step {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], start+uint32(off))
			if s := netip.PrefixFrom(netip.AddrFrom4(b), p.Size); !overlapsAny(s, taken) {
				return s, nil
			}
		}
	}
	return netip.Prefix{}, fault.New(fault.Unavailable, "no free subnet in the address pools: all overlap a route of this machine; give others by --default-address-pool base=CIDR,size=N")
}

func overlapsAny(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if p.Overlaps(t) {
			return true
		}
	}
	return false
}
