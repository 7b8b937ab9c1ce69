package firewall

import (
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// topology is the world that the traffic tests are about:
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
type topology struct {
	host, peer, router, far, web, db, other host
}

var (
	hoy0 = Network{Name: "bridge", Link: "hoy0", Subnet: prefixOf("172.17.0.0/16"), Subnet6: prefixOf("fd00:17::/64")}
	hoy1 = Network{Name: "second", Link: "hoy1", Subnet: prefixOf("172.18.0.0/16"), Subnet6: prefixOf("fd00:18::/64")}
)

// published are web's ports in most tests: 8080 at every address, 5432 at 127.0.0.1.
var published = []Port{
	port("tcp", "0.0.0.0:8080", "hoy0", "172.17.0.2:80"),
	port("udp", "0.0.0.0:8080", "hoy0", "172.17.0.2:80"),
	port("tcp", "[::]:8080", "hoy0", "[fd00:17::2]:80"),
	port("udp", "[::]:8080", "hoy0", "[fd00:17::2]:80"),
	port("tcp", "127.0.0.1:5432", "hoy0", "172.17.0.2:80"),
	port("udp", "127.0.0.1:5432", "hoy0", "172.17.0.2:80"),
}

func world(t testing.TB) topology {
	t.Helper()
	w := topology{host: thisHost(t), peer: newHost(t, "peer"), router: newHost(t, "router"), far: newHost(t, "far")}
	w.router.sysctl(t, "ipv4/ip_forward", "1")
	w.router.sysctl(t, "ipv6/conf/all/forwarding", "1")
	w.host.sysctl(t, "ipv4/ip_forward", "1")
	w.host.sysctl(t, "ipv6/conf/all/forwarding", "1")
	lan := &bridgeIn{w.router, "lan"}
	lan.add(t)
	wire(t, w.router, "to-peer", w.peer, "eth0", "lan")
	wire(t, w.router, "to-host", w.host, "lan0", "lan")
	wire(t, w.router, "to-far", w.far, "eth0", "")
	t.Cleanup(func() { w.host.remove(t, "lan0") })
	w.router.addresses(t, "lan", "192.0.2.254/24", "2001:db8:2::fe/64")
	w.router.addresses(t, "to-far", "198.51.100.1/24", "2001:db8:100::1/64")
	w.far.addresses(t, "eth0", "198.51.100.9/24", "2001:db8:100::9/64")
	w.peer.addresses(t, "eth0", "192.0.2.2/24", "2001:db8:2::2/64")
	w.host.addresses(t, "lan0", "192.0.2.1/24", "2001:db8:2::1/64")
	w.far.route(t, "0.0.0.0/0", "198.51.100.1")
	w.far.route(t, "::/0", "2001:db8:100::1")
	w.host.route(t, "0.0.0.0/0", "192.0.2.254")
	w.host.route(t, "::/0", "2001:db8:2::fe")
	for _, h := range []host{w.peer, w.router} {
		h.route(t, "172.16.0.0/12", "192.0.2.1")
		h.route(t, "fd00::/16", "2001:db8:2::1")
	}
	w.peer.route(t, "198.51.100.0/24", "192.0.2.254")
	w.peer.route(t, "2001:db8:100::/64", "2001:db8:2::fe")
	for _, n := range []Network{hoy0, hoy1} {
		bridge(t, n.Link)
		w.host.addresses(t, n.Link, addrIn(n, 1)...)
	}
	w.web = w.container(t, "web", hoy0, 2)
	w.db = w.container(t, "db", hoy0, 3)
	w.other = w.container(t, "other", hoy1, 2)
	for _, h := range []host{w.peer, w.far, w.web, w.db, w.other} {
		h.serve(t, 80)
	}
	return w
}

// container makes one on a network.
func (w topology) container(t testing.TB, name string, n Network, number int) host {
	t.Helper()
	c := newHost(t, name)
	wire(t, w.host, "veth-"+name, c, "eth0", n.Link)
	t.Cleanup(func() { w.host.remove(t, "veth-"+name) })
	if switched(t) {
		// A container that calls itself by a published port comes in and goes out by
		// the same port of the bridge.
		must(t, w.host.do(func() error {
			l, err := netlink.LinkByName("veth-" + name)
			if err != nil {
				return err
			}
			return netlink.LinkSetHairpin(l, true)
		}))
	}
	c.addresses(t, "eth0", addrIn(n, number)...)
	c.route(t, "0.0.0.0/0", n.Subnet.Addr().Next().String())
	c.route(t, "::/0", n.Subnet6.Addr().Next().String())
	return c
}

const (
	callIPTables  = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	callIP6Tables = "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
)

// switched says whether what bridges switch meets the rules for IPv4 and IPv6 (module
// br_netfilter), as the sysctl is that is one for all bridges.
func switched(t testing.TB) bool {
	b, err := os.ReadFile(callIPTables)
	if err != nil {
		return false
	}
	return b[0] == '1'
}
