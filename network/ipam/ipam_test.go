package ipam

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"hoy/lib/fault"
)

var prefix = netip.MustParsePrefix

func TestLowestFirst(t *testing.T) {
	h := NewHosts(prefix("10.1.2.0/29"), netip.Prefix{})
	take := func() string {
		t.Helper()
		a, err := h.Take()
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	for _, want := range []string{"10.1.2.1", "10.1.2.2", "10.1.2.3"} {
		if got := take(); got != want {
			t.Fatalf("took %s, want %s", got, want)
		}
	}
	h.Release(netip.MustParseAddr("10.1.2.2"))
	for _, want := range []string{"10.1.2.2", "10.1.2.4", "10.1.2.5", "10.1.2.6"} {
		if got := take(); got != want {
			t.Fatalf("took %s, want %s", got, want)
		}
	}
	if got, err := h.Take(); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a full subnet gave %s, %v", got, err)
	}
}

func TestClaim(t *testing.T) {
	h := NewHosts(prefix("10.1.2.0/24"), prefix("10.1.2.128/25"))
	for _, tc := range []struct {
		addr string
		kind fault.Kind
		ok   bool
	}{
		{"10.1.2.7", 0, true}, // beside the range
		{"10.1.2.7", fault.Forbidden, false},
		{"10.1.2.0", fault.Forbidden, false},
		{"10.1.2.255", fault.Forbidden, false},
		{"10.1.3.1", fault.Invalid, false},
		{"10.1.1.255", fault.Invalid, false},
		{"fe80::1", fault.Invalid, false},
	} {
		err := h.Claim(netip.MustParseAddr(tc.addr))
		if tc.ok != (err == nil) || err != nil && fault.KindOf(err) != tc.kind {
			t.Errorf("Claim(%s): %v", tc.addr, err)
		}
	}
}

// TestHostsProperties takes, claims and releases at random: nobody ever has an address that
// another has, what is taken lies in the range, and a range is full only when it is.
func TestHostsProperties(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var subnet, rng netip.Prefix
		if r.IntN(2) == 0 {
			subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(256)), 0, 0}), 24+r.IntN(9))
			rng = netip.PrefixFrom(subnet.Addr(), subnet.Bits()+r.IntN(33-subnet.Bits()))
		} else {
			subnet = netip.PrefixFrom(netip.MustParseAddr("fd00::"), 120+r.IntN(9))
			rng = netip.PrefixFrom(Last(subnet), subnet.Bits()+r.IntN(129-subnet.Bits())).Masked()
		}
		h := NewHosts(subnet, rng)
		held := map[netip.Addr]bool{}
		addrs := func() (l []netip.Addr) {
			for a := range held {
				l = append(l, a)
			}
			return l
		}
		for range 400 {
			switch r.IntN(4) {
			case 0, 1:
				a, err := h.Take()
				_, free := h.Usage(addrs())
				switch {
				case err != nil && free > 0:
					t.Fatalf("seed %d: %s in %s: %v, but %d are free", seed, rng, subnet, err, free)
				case err == nil && (held[a] || !rng.Contains(a)):
					t.Fatalf("seed %d: took %s of %s, which is taken or outside", seed, a, rng)
				case err == nil:
					held[a] = true
				}
			case 2:
				b := subnet.Addr().AsSlice()
				b[len(b)-1] |= byte(r.IntN(1 << min(8, len(b)*8-subnet.Bits())))
				a, _ := netip.AddrFromSlice(b)
				if err := h.Claim(a); err == nil && held[a] {
					t.Fatalf("seed %d: claimed %s twice", seed, a)
				} else if err == nil {
					held[a] = true
				}
			case 3:
				for a := range held {
					h.Release(a)
					delete(held, a)
					break
				}
			}
		}
	}
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		subnet, rng string
		used, free  uint64
	}{
		{"10.0.0.0/24", "", 2, 254},
		{"10.0.0.0/24", "10.0.0.64/31", 2, 2},
		{"10.0.0.0/31", "", 0, 2},
		{"2001:db8::/56", "", 1, 1<<64 - 1},
		{"2001:db8::/64", "", 1, 1<<64 - 1},
		{"2001:db8::/65", "", 1, 1<<63 - 1},
	} {
		var rng netip.Prefix
		if tc.rng != "" {
			rng = prefix(tc.rng)
		}
		if used, free := NewHosts(prefix(tc.subnet), rng).Usage(nil); used != tc.used || free != tc.free {
			t.Errorf("%s %s: %d used, %d free; want %d, %d", tc.subnet, tc.rng, used, free, tc.used, tc.free)
		}
	}
}

func TestChoose(t *testing.T) {
	pools := []Pool{{prefix("172.17.0.0/16"), 16}, {prefix("192.168.0.0/16"), 20}, {prefix("fd00:1::/48"), 64}}
	for _, tc := range []struct {
		v6    bool
		size  int
		taken []netip.Prefix
		want  string
	}{
		{false, 0, nil, "172.17.0.0/16"},
		{false, 0, []netip.Prefix{prefix("172.17.5.0/24")}, "192.168.0.0/20"},
		{false, 0, []netip.Prefix{prefix("172.16.0.0/12"), prefix("192.168.1.0/24")}, "192.168.16.0/20"},
		{false, 0, []netip.Prefix{prefix("172.16.0.0/12"), prefix("192.168.0.0/16")}, ""},
		{false, 28, []netip.Prefix{prefix("172.17.0.0/27")}, "172.17.0.32/28"},
		{false, 12, nil, ""},
		{true, 0, nil, "fd00:1::/64"},
		{true, 0, []netip.Prefix{prefix("fd00:1::/63"), prefix("172.16.0.0/12")}, "fd00:1:0:2::/64"},
		{true, 0, []netip.Prefix{prefix("fd00::/8")}, ""},
	} {
		got, err := Choose(pools, tc.v6, tc.size, tc.taken)
		if tc.want == "" {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("taken %v: got %s, %v; want an error", tc.taken, got, err)
			}
		} else if err != nil || got.String() != tc.want {
			t.Errorf("taken %v: got %s, %v; want %s", tc.taken, got, err, tc.want)
		}
	}
}

// TestNoEnd plans more networks than docker's pools hold.
func TestNoEnd(t *testing.T) {
	pools := append(DefaultPools(), Reserve()...)
	taken := []netip.Prefix{prefix("10.192.0.0/24"), prefix("172.18.3.0/24")}
	for i := range 2000 {
		s, err := Choose(pools, false, 0, taken)
		if err != nil {
			t.Fatalf("network %d: %v", i, err)
		}
		if slices.ContainsFunc(taken, s.Overlaps) {
			t.Fatalf("network %d: %s overlaps another", i, s)
		}
		taken = append(taken, s)
	}
	if s := taken[len(taken)-1]; s.Bits() != 24 {
		t.Errorf("the last is %s, not a small one", s)
	}
}

// TestChooseProperties compares with trying one subnet after the other.
func TestChooseProperties(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		pool := Pool{prefix("10.0.0.0/24"), 25 + r.IntN(6)}
		var taken []netip.Prefix
		for range r.IntN(12) {
			taken = append(taken, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(8) / 7), byte(r.IntN(256))}), 24+r.IntN(9)).Masked())
		}
		want := netip.Prefix{}
		for n := 0; n < 256; n += 1 << (32 - pool.Size) {
			s := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), pool.Size)
			if !slices.ContainsFunc(taken, s.Overlaps) {
				want = s
				break
			}
		}
		if got, _ := Choose([]Pool{pool}, false, 0, taken); got != want {
			t.Fatalf("seed %d: /%d beside %v: got %s, want %s", seed, pool.Size, taken, got, want)
		}
	}
}

// TestUniqueLocal has the prefixes that dockerd derives from the same ids.
func TestUniqueLocal(t *testing.T) {
	for id, want := range map[string]string{"": "fd42:98fc:1c14::/48", "499d4bc0-b0b3-416f-b1ee-cf6486315593": "fd62:fb69:18af::/48"} {
		if got := UniqueLocal(id).Base.String(); got != want {
			t.Errorf("%q: got %s, want %s", id, got, want)
		}
	}
}
