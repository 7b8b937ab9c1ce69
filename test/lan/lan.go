// Package lan makes three hosts with containers out of network namespaces, for tests of
// what reaches whom.
package lan

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// LAN is a host, a peer in its network, and what is behind its router:
//
//	far 198.51.100.9 -- router 198.51.100.1, 192.0.2.254
//	                      |  LAN 192.0.2.0/24, 2001:db8:2::/64
//	peer 192.0.2.2 -------+------- host 192.0.2.1
//	                                 +-- hoy0     172.17.0.1: web .2, db .3
//	                                 +-- hoy1     172.18.0.1: other .2
//
// IPv6 addresses end in the same number: 2001:db8:2::2 is the peer, fd00:17::2 is web.
// All serve port 80; the peer and far have routes to the containers' networks by the
// host, as everybody in its LAN could make them.
type LAN struct {
	Host, Peer, Router, Far, Web, DB, Other Host
}

// Bridge is a network of containers.
type Bridge struct {
	Link            string
	Subnet, Subnet6 netip.Prefix
}

// The bridges of the host.
var (
	Hoy0 = Bridge{"hoy0", netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("fd00:17::/64")}
	Hoy1 = Bridge{"hoy1", netip.MustParsePrefix("172.18.0.0/16"), netip.MustParsePrefix("fd00:18::/64")}
)

// New makes it, for as long as the test runs.
func New(t testing.TB) LAN {
	t.Helper()
	w := LAN{Host: ThisHost(t), Peer: NewHost(t, "peer"), Router: NewHost(t, "router"), Far: NewHost(t, "far")}
	w.Router.Sysctl(t, "ipv4/ip_forward", "1")
	w.Router.Sysctl(t, "ipv6/conf/all/forwarding", "1")
	w.Host.Sysctl(t, "ipv4/ip_forward", "1")
	w.Host.Sysctl(t, "ipv6/conf/all/forwarding", "1")
	lan := &bridgeIn{w.Router, "lan"}
	lan.add(t)
	wire(t, w.Router, "to-peer", w.Peer, "eth0", "lan")
	wire(t, w.Router, "to-host", w.Host, "lan0", "lan")
	wire(t, w.Router, "to-far", w.Far, "eth0", "")
	t.Cleanup(func() { w.Host.Remove(t, "lan0") })
	w.Router.Addresses(t, "lan", "192.0.2.254/24", "2001:db8:2::fe/64")
	w.Router.Addresses(t, "to-far", "198.51.100.1/24", "2001:db8:100::1/64")
	w.Far.Addresses(t, "eth0", "198.51.100.9/24", "2001:db8:100::9/64")
	w.Peer.Addresses(t, "eth0", "192.0.2.2/24", "2001:db8:2::2/64")
	w.Host.Addresses(t, "lan0", "192.0.2.1/24", "2001:db8:2::1/64")
	w.Far.Route(t, "0.0.0.0/0", "198.51.100.1")
	w.Far.Route(t, "::/0", "2001:db8:100::1")
	w.Host.Route(t, "0.0.0.0/0", "192.0.2.254")
	w.Host.Route(t, "::/0", "2001:db8:2::fe")
	for _, h := range []Host{w.Peer, w.Router} {
		h.Route(t, "172.16.0.0/12", "192.0.2.1")
		h.Route(t, "fd00::/16", "2001:db8:2::1")
	}
	w.Peer.Route(t, "198.51.100.0/24", "192.0.2.254")
	w.Peer.Route(t, "2001:db8:100::/64", "2001:db8:2::fe")
	for _, n := range []Bridge{Hoy0, Hoy1} {
		NewBridge(t, n.Link)
		w.Host.Addresses(t, n.Link, addrIn(n, 1)...)
	}
	w.Web = w.container(t, "web", Hoy0, 2)
	w.DB = w.container(t, "db", Hoy0, 3)
	w.Other = w.container(t, "other", Hoy1, 2)
	for _, h := range []Host{w.Peer, w.Far, w.Web, w.DB, w.Other} {
		h.Serve(t, 80)
	}
	// The kernel takes a link that has just come up for one without a carrier for up to
	// a second, and IPv6 waits for it.
	for _, to := range []string{"[2001:db8:2::2]:80", "[2001:db8:100::9]:80", "[fd00:17::2]:80", "[fd00:17::3]:80", "[fd00:18::2]:80"} {
		for end := time.Now().Add(Patience); w.Host.Ask("tcp", to, Patience) == ""; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the host does not reach %s", to)
			}
		}
	}
	return w
}

// container makes one on a network.
func (w LAN) container(t testing.TB, name string, n Bridge, number int) Host {
	t.Helper()
	c := NewHost(t, name)
	wire(t, w.Host, "veth-"+name, c, "eth0", n.Link)
	t.Cleanup(func() { w.Host.Remove(t, "veth-"+name) })
	if switched(t) {
		// A container that calls itself by a published port comes in and goes out by
		// the same port of the bridge.
		Must(t, w.Host.Do(func() error {
			l, err := netlink.LinkByName("veth-" + name)
			if err != nil {
				return err
			}
			return netlink.LinkSetHairpin(l, true)
		}))
	}
	c.Addresses(t, "eth0", addrIn(n, number)...)
	c.Route(t, "0.0.0.0/0", n.Subnet.Addr().Next().String())
	c.Route(t, "::/0", n.Subnet6.Addr().Next().String())
	return c
}

// The sysctls by which what bridges switch meets the rules.
const (
	CallIPTables  = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	CallIP6Tables = "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
)

// switched says whether what bridges switch meets the rules for IPv4 and IPv6 (module
// br_netfilter), as the sysctl is that is one for all bridges.
func switched(t testing.TB) bool {
	b, err := os.ReadFile(CallIPTables)
	if err != nil {
		return false
	}
	return b[0] == '1'
}
