package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// flow is a datagram's to an address, and who answers.
func flow(to, by string) *netlink.ConntrackFlow {
	dst, src := netip.MustParseAddrPort(to), netip.MustParseAddrPort(by)
	client := net.ParseIP("192.0.2.2")
	return &netlink.ConntrackFlow{
		Forward: netlink.IPTuple{SrcIP: client, DstIP: dst.Addr().AsSlice(), SrcPort: 4000, DstPort: dst.Port(), Protocol: protocols["udp"]},
		Reverse: netlink.IPTuple{SrcIP: src.Addr().AsSlice(), DstIP: client, SrcPort: src.Port(), DstPort: 4000, Protocol: protocols["udp"]},
	}
}

// TestMatch: which flows end that the kernel does not find by itself.
func TestMatch(t *testing.T) {
	f := staleFlows{
		gone: []Port{port("udp", "0.0.0.0:53", "", "172.17.0.2:5353"), port("udp", "0.0.0.0:0", "", "10.0.0.2:7000"), port("udp", "[::]:53", "", "[fd00::2]:5353")},
		now:  []Port{port("udp", "0.0.0.0:54", "", "172.17.0.3:5353")},
		host: func() map[netip.Addr]bool { return map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true} },
	}
	f.still = func(p Port, gone bool) bool { return true }
	f.index()
	for _, c := range []struct {
		to, by string
		ends   bool
	}{
		{"192.0.2.1:53", "172.17.0.2:5353", true},
		{"192.0.2.1:53", "172.17.0.9:5353", false}, // another's, at an address of its own
		{"192.0.2.1:55", "172.17.0.2:5353", false},
		{"[2001:db8::1]:53", "[fd00::2]:5353", true},
		{"10.0.0.2:7000", "10.0.0.2:7000", true}, // routed
		{"10.0.0.3:7000", "10.0.0.3:7000", false},
		{"192.0.2.1:54", "172.17.0.2:5353", true}, // it leads elsewhere now
		{"192.0.2.1:54", "192.0.2.1:54", true},
		{"192.0.2.1:54", "172.17.0.3:5353", false},
		{"198.51.100.9:54", "198.51.100.9:54", false}, // not to the host
	} {
		if ends := f.MatchConntrackFlow(flow(c.to, c.by)); ends != c.ends {
			t.Errorf("%s by %s: ends %v", c.to, c.by, ends)
		}
	}
}

// BenchmarkMatch looks at a flow of nobody's when a container with many ports has ended.
func BenchmarkMatch(b *testing.B) {
	f := staleFlows{still: func(Port, bool) bool { return true }}
	for i := range 10000 {
		f.gone = append(f.gone, port("udp", fmt.Sprint("0.0.0.0:", 10000+i), "", fmt.Sprint("172.17.0.2:", 10000+i)))
	}
	f.index()
	other := flow("192.0.2.1:53", "192.0.2.1:53")
	for b.Loop() {
		if f.MatchConntrackFlow(other) {
			b.Fatal("it is to end")
		}
	}
}
