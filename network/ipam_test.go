package network

import (
	"net/netip"
	"testing"

	"hoy/lib/fault"
)

func TestAddressesGoRound(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.1.2.0/29"))
	take := func() string {
		t.Helper()
		got, err := a.take()
		if err != nil {
			t.Fatal(err)
		}
		return got.String()
	}
	for _, want := range []string{"10.1.2.1", "10.1.2.2", "10.1.2.3"} {
		if got := take(); got != want {
			t.Fatalf("took %s, want %s", got, want)
		}
	}
	a.release(netip.MustParseAddr("10.1.2.2"))
	for _, want := range []string{"10.1.2.4", "10.1.2.5", "10.1.2.6", "10.1.2.2"} {
		if got := take(); got != want {
			t.Fatalf("took %s, want %s", got, want)
		}
	}
	if got, err := a.take(); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a full subnet gave %s, %v", got, err)
	}
}

func TestClaim(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.1.2.0/24"))
	for _, tc := range []struct {
		addr string
		kind fault.Kind
		ok   bool
	}{
		{"10.1.2.7", 0, true},
		{"10.1.2.7", fault.Forbidden, false},
		{"10.1.2.0", fault.Invalid, false},
		{"10.1.2.255", fault.Invalid, false},
		{"10.1.3.1", fault.Invalid, false},
		{"10.1.1.255", fault.Invalid, false},
		{"fe80::1", fault.Invalid, false},
	} {
		err := a.claim(netip.MustParseAddr(tc.addr))
		if tc.ok != (err == nil) || err != nil && fault.KindOf(err) != tc.kind {
			t.Errorf("claim(%s): %v", tc.addr, err)
		}
	}
}

func TestChooseAvoidsRoutes(t *testing.T) {
	p := netip.MustParsePrefix
	pools := []Pool{{p("172.17.0.0/16"), 16}, {p("192.168.0.0/16"), 20}}
	for _, tc := range []struct {
		taken []netip.Prefix
		want  string
	}{
		{nil, "172.17.0.0/16"},
		{[]netip.Prefix{p("172.17.5.0/24")}, "192.168.0.0/20"},
		{[]netip.Prefix{p("172.16.0.0/12"), p("192.168.1.0/24")}, "192.168.16.0/20"},
		{[]netip.Prefix{p("172.16.0.0/12"), p("192.168.0.0/16")}, ""},
	} {
		got, err := choose(pools, tc.taken)
		if tc.want == "" {
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("taken %v: got %s, %v; want an error", tc.taken, got, err)
			}
		} else if got.String() != tc.want {
			t.Errorf("taken %v: got %s, %v; want %s", tc.taken, got, err, tc.want)
		}
	}
}
