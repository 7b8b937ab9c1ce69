package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// track has the kernel know a connection of a client's port: to which address, and who
// answers.
func track(t *testing.T, client uint16, proto byte, to, by string) {
	t.Helper()
	dst, src := netip.MustParseAddrPort(to), netip.MustParseAddrPort(by)
	from, family := net.ParseIP("192.0.2.9").To4(), netlink.InetFamily(unix.AF_INET)
	if dst.Addr().Is6() {
		from, family = net.ParseIP("2001:db8::9"), unix.AF_INET6
	}
	f := &netlink.ConntrackFlow{FamilyType: uint8(family), TimeOut: 100,
		Forward: netlink.IPTuple{SrcIP: from, DstIP: dst.Addr().AsSlice(), SrcPort: client, DstPort: dst.Port(), Protocol: proto},
		Reverse: netlink.IPTuple{SrcIP: src.Addr().AsSlice(), DstIP: from, SrcPort: src.Port(), DstPort: client, Protocol: proto}}
	if proto == unix.IPPROTO_TCP {
		f.ProtoInfo = &netlink.ProtoInfoTCP{State: nl.TCP_CONNTRACK_ESTABLISHED}
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, family, f); err != nil {
		t.Fatal(err)
	}
}

// tracked are all connections: "6 192.0.2.1:80 172.17.0.2:80".
func tracked(t *testing.T) (all []string) {
	t.Helper()
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		list, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			all = append(all, describe(f.Forward.Protocol, f.Forward.DstIP, f.Forward.DstPort, f.Reverse.SrcIP, f.Reverse.SrcPort))
		}
	}
	slices.Sort(all)
	return all
}

func describe(proto byte, to net.IP, port uint16, by net.IP, from uint16) string {
	return fmt.Sprint(proto, " ", net.JoinHostPort(to.String(), fmt.Sprint(port)), " ", net.JoinHostPort(by.String(), fmt.Sprint(from)))
}

// TestDelete: what matches in all fields goes, and nothing that differs in one.
func TestDelete(t *testing.T) {
	rootful.Check(t)
	const tcp, udp = unix.IPPROTO_TCP, unix.IPPROTO_UDP
	all := []struct {
		proto  byte
		to, by string
	}{
		{tcp, "192.0.2.1:80", "172.17.0.2:8080"},
		{udp, "192.0.2.1:80", "172.17.0.2:8080"},
		{tcp, "192.0.2.2:80", "172.17.0.2:8080"},
		{tcp, "192.0.2.1:81", "172.17.0.2:8080"},
		{tcp, "192.0.2.3:80", "172.17.0.3:8080"},
		{tcp, "192.0.2.4:80", "172.17.0.2:8081"},
		{tcp, "[2001:db8::1]:80", "[fd00::2]:8080"},
	}
	flows := func(proto byte, to, by string) Flows {
		return Flows{proto, netip.MustParseAddrPort(to), netip.MustParseAddrPort(by)}
	}
	for name, c := range map[string]struct {
		flows []Flows
		goes  []int
	}{
		"one address":       {[]Flows{flows(tcp, "192.0.2.1:80", "172.17.0.2:8080")}, []int{0}},
		"every address":     {[]Flows{flows(tcp, "0.0.0.0:80", "172.17.0.2:8080")}, []int{0, 2}},
		"UDP":               {[]Flows{flows(udp, "0.0.0.0:80", "172.17.0.2:8080")}, []int{1}},
		"two":               {[]Flows{flows(tcp, "0.0.0.0:81", "172.17.0.2:8080"), flows(tcp, "192.0.2.4:80", "172.17.0.2:8081")}, []int{3, 5}},
		"what is not there": {[]Flows{flows(tcp, "0.0.0.0:443", "172.17.0.2:8080")}, nil},
		"nothing":           {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			defer netlink.ConntrackTableFlush(netlink.ConntrackTable)
			var want []string
			for i, f := range all {
				track(t, uint16(4000+i), f.proto, f.to, f.by)
				if !slices.Contains(c.goes, i) {
					want = append(want, fmt.Sprint(f.proto, " ", f.to, " ", f.by))
				}
			}
			err := Delete(c.flows...)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skipf("this kernel finds no connections by a filter, as 6.18 does: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(want)
			if left := tracked(t); !slices.Equal(left, want) {
				t.Errorf("left\n%v\nwant\n%v", left, want)
			}
		})
	}
}

// TestIPv6: connections of IPv6 are left to who asks.
func TestIPv6(t *testing.T) {
	at := netip.MustParseAddrPort("[2001:db8::1]:80")
	if err := Delete(Flows{unix.IPPROTO_TCP, at, at}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
