package firewall

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"hoy/test/lan"
	"hoy/test/rootful"
)

var (
	hoy0 = Network{Name: "bridge", Link: lan.Hoy0.Link, Subnet: lan.Hoy0.Subnet, Subnet6: lan.Hoy0.Subnet6}
	hoy1 = Network{Name: "second", Link: lan.Hoy1.Link, Subnet: lan.Hoy1.Subnet, Subnet6: lan.Hoy1.Subnet6}
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

// begin makes the world with a firewall.
func begin(t testing.TB, networks []Network, ports ...Port) (lan.LAN, *Firewall) {
	t.Helper()
	rootful.Check(t)
	w := lan.New(t)
	f := open(t, "hoy-hoy0")
	lan.Must(t, f.Sync(networks, ports))
	return w, f
}

// TestPublished: who reaches a published port, and as whom, whether or not the packets
// that bridges switch meet the rules.
func TestPublished(t *testing.T) {
	for name, value := range map[string]string{"switched": "0", "switched and filtered": "1"} {
		t.Run(name, func(t *testing.T) {
			before, err := os.ReadFile(lan.CallIPTables)
			lan.Must(t, err)
			for _, path := range []string{lan.CallIPTables, lan.CallIP6Tables} {
				lan.Must(t, os.WriteFile(path, []byte(value), 0))
				t.Cleanup(func() { os.WriteFile(path, before, 0) })
			}
			testPublished(t)
		})
	}
}

func testPublished(t *testing.T) {
	w, f := begin(t, []Network{hoy0, hoy1}, published...)
	both := func() {
		t.Helper()
		w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
		w.Peer.Expect(t, "[2001:db8:2::1]:8080", "web sees 2001:db8:2::2")
		w.Far.Expect(t, "192.0.2.1:8080", "web sees 198.51.100.9")
		w.Far.Expect(t, "[2001:db8:2::1]:8080", "web sees 2001:db8:100::9")
		w.Host.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.1")
		w.Host.Expect(t, "[2001:db8:2::1]:8080", "web sees 2001:db8:2::1")
		w.Host.Expect(t, "127.0.0.1:8080", "web sees 172.17.0.1")
		w.Host.Expect(t, "127.0.0.1:5432", "web sees 172.17.0.1")
		// By the gateway's address, as host.docker.internal has it.
		w.DB.Expect(t, "172.17.0.1:8080", "web sees 172.17.0.1")
		w.DB.Expect(t, "192.0.2.1:8080", "web sees 172.17.0.1")
		w.DB.Expect(t, "[2001:db8:2::1]:8080", "web sees fd00:17::1")
		w.Web.Expect(t, "192.0.2.1:8080", "web sees 172.17.0.1") // itself
		w.Web.Expect(t, "[2001:db8:2::1]:8080", "web sees fd00:17::1")
		w.Other.Expect(t, "192.0.2.1:8080", "web sees 172.17.0.1")
		w.Other.Expect(t, "[2001:db8:2::1]:8080", "web sees fd00:17::1")
	}
	both()
	lan.Must(t, f.Unpublish(published...))
	w.Peer.Expect(t, "192.0.2.1:8080", "")
	w.Peer.Expect(t, "[2001:db8:2::1]:8080", "")
	w.Host.Expect(t, "127.0.0.1:8080", "")
	lan.Must(t, f.Publish(published...))
	both()
}

// TestDirect: a container's own address is reached from its network and the host alone.
func TestDirect(t *testing.T) {
	w, _ := begin(t, []Network{hoy0, hoy1}, published...)
	w.DB.Expect(t, "172.17.0.2:80", "web sees 172.17.0.3")
	w.DB.Expect(t, "[fd00:17::2]:80", "web sees fd00:17::3")
	w.Host.Expect(t, "172.17.0.2:80", "web sees 172.17.0.1")
	w.Host.Expect(t, "[fd00:17::2]:80", "web sees fd00:17::1")
	for _, h := range []lan.Host{w.Peer, w.Far, w.Router, w.Other} {
		h.Expect(t, "172.17.0.2:80", "")
		h.Expect(t, "[fd00:17::2]:80", "")
	}
}

// TestLeaving: containers reach the world, and are seen as the host unless told otherwise.
func TestLeaving(t *testing.T) {
	w, f := begin(t, []Network{hoy0, hoy1})
	w.Web.Expect(t, "192.0.2.2:80", "peer sees 192.0.2.1")
	w.Web.Expect(t, "[2001:db8:2::2]:80", "peer sees 2001:db8:2::1")
	w.Web.Expect(t, "198.51.100.9:80", "far sees 192.0.2.1")
	w.Web.Expect(t, "[2001:db8:100::9]:80", "far sees 2001:db8:2::1")

	n := hoy0
	n.NoMasq, n.NoMasq6 = true, true
	lan.Must(t, f.AddNetwork(n))
	w.Web.Expect(t, "192.0.2.2:80", "peer sees 172.17.0.2")
	w.Web.Expect(t, "[2001:db8:2::2]:80", "peer sees fd00:17::2")

	n = hoy0
	n.Source, n.Source6 = prefixOf("192.0.2.7/32").Addr(), prefixOf("2001:db8:2::7/128").Addr()
	w.Host.Addresses(t, "lan0", "192.0.2.7/24", "2001:db8:2::7/64")
	lan.Must(t, f.AddNetwork(n))
	w.Web.Expect(t, "192.0.2.2:80", "peer sees 192.0.2.7")
	w.Web.Expect(t, "[2001:db8:2::2]:80", "peer sees 2001:db8:2::7")
}

// TestInternal: nothing in, nothing out, whatever is published.
func TestInternal(t *testing.T) {
	n := hoy0
	n.Internal = true
	w, _ := begin(t, []Network{n, hoy1}, append(published, port("tcp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80"), port("udp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80"))...)
	w.DB.Expect(t, "172.17.0.2:80", "web sees 172.17.0.3")
	w.DB.Expect(t, "[fd00:17::2]:80", "web sees fd00:17::3")
	w.Peer.Expect(t, "192.0.2.1:8080", "")
	w.Peer.Expect(t, "172.17.0.2:80", "")
	w.Other.Expect(t, "172.17.0.2:80", "")
	for _, to := range []string{"192.0.2.2:80", "[2001:db8:2::2]:80", "198.51.100.9:80", "172.18.0.2:80", "192.0.2.1:8081"} {
		w.Web.Expect(t, to, "")
	}
	w.Peer.Expect(t, "192.0.2.1:8081", "other sees 192.0.2.2")
}

// TestApart: with NoICC containers reach each other by links and published ports alone,
// also those that send by the gateway what is for a neighbour.
func TestApart(t *testing.T) {
	n := hoy0
	n.NoICC = true
	w, f := begin(t, []Network{n, hoy1}, published...)
	// What is for the neighbour, by the gateway.
	w.DB.Route(t, "172.17.0.2/32", "172.17.0.1")
	w.DB.Expect(t, "172.17.0.2:80", "")
	w.Web.Expect(t, "172.17.0.3:80", "")
	w.Web.Expect(t, "[fd00:17::3]:80", "")
	w.DB.Expect(t, "172.17.0.1:8080", "web sees 172.17.0.1")
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	w.Web.Expect(t, "192.0.2.2:80", "peer sees 192.0.2.1")

	var linked []Allow
	for _, proto := range []string{"tcp", "udp"} {
		linked = append(linked,
			Allow{prefixOf("172.17.0.2/32").Addr(), prefixOf("172.17.0.3/32").Addr(), proto, 80},
			Allow{prefixOf("fd00:17::2/128").Addr(), prefixOf("fd00:17::3/128").Addr(), proto, 80})
	}
	w.DB.Serve(t, 81)
	lan.Must(t, f.Allow("hoy0", linked...))
	lan.Must(t, f.Allow("hoy0", linked[0])) // twice is once
	w.Web.Expect(t, "172.17.0.3:80", "db sees 172.17.0.2")
	w.Web.Expect(t, "[fd00:17::3]:80", "db sees fd00:17::2")
	w.Web.Expect(t, "172.17.0.3:81", "")
	w.DB.Expect(t, "172.17.0.2:80", "")
	lan.Must(t, f.Disallow("hoy0", linked...))
	w.Web.Expect(t, "[fd00:17::3]:80", "")
	w.Web.Expect(t, "172.17.0.3:80", "")
}

// TestBesideNetavark: podman's network program masquerades what carries its mark.
func TestBesideNetavark(t *testing.T) {
	w, _ := begin(t, []Network{hoy0, hoy1}, published...)
	run(t, "nft", `add table ip nat; add chain ip nat POSTROUTING { type nat hook postrouting priority srcnat; };
		add rule ip nat POSTROUTING meta mark & 0x2000 == 0x2000 masquerade`)
	t.Cleanup(func() { run(t, "nft", "delete table ip nat") })
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
}

// TestMarked: what passes carries the mark both ways, on a bridge of the engine's and on
// one of somebody's, and what has nothing to do with them does not.
func TestMarked(t *testing.T) {
	for name, group := range map[string]int{"somebody's": 0, "the engine's": Group} {
		t.Run(name, func(t *testing.T) {
			w, _ := begin(t, []Network{hoy0, hoy1}, published...)
			for _, n := range []string{"hoy0", "hoy1"} {
				l, err := netlink.LinkByName(n)
				lan.Must(t, err)
				lan.Must(t, netlink.LinkSetGroup(l, group))
			}
			run(t, "nft", `add table inet mine; add chain inet mine forward { type filter hook forward priority 0; policy drop; };
				add rule inet mine forward meta mark & 0x1000 == 0x1000 accept`)
			t.Cleanup(func() { run(t, "nft", "delete table inet mine") })
			w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
			w.Peer.Expect(t, "[2001:db8:2::1]:8080", "web sees 2001:db8:2::2")
			w.Web.Expect(t, "192.0.2.2:80", "peer sees 192.0.2.1")
		})
	}
}

// TestModes: how a network is reached from outside.
func TestModes(t *testing.T) {
	n := hoy0
	n.Mode, n.Mode6 = NATUnprotected, Routed
	w, f := begin(t, []Network{n, hoy1})
	w.Web.Serve(t, 81)
	lan.Must(t, f.Publish(port("tcp", "[::]:0", "hoy0", "[fd00:17::2]:80"), port("udp", "[::]:0", "hoy0", "[fd00:17::2]:80")))
	w.Peer.Expect(t, "172.17.0.2:81", "web sees 192.0.2.2")
	w.Peer.Expect(t, "[fd00:17::2]:80", "web sees 2001:db8:2::2")
	w.Peer.Expect(t, "[fd00:17::2]:81", "")
	w.Web.Expect(t, "192.0.2.2:80", "peer sees 192.0.2.1")
	w.Web.Expect(t, "[2001:db8:2::2]:80", "peer sees fd00:17::2")

	n = hoy0
	n.Trusted = []string{"lan0"}
	lan.Must(t, f.Unpublish(f.Ports()...))
	lan.Must(t, f.AddNetwork(n))
	w.Peer.Expect(t, "172.17.0.2:81", "")
	again := port("tcp", "0.0.0.0:8181", "hoy0", "172.17.0.2:81")
	lan.Must(t, f.Publish(again))
	for _, proto := range []string{"tcp", "udp"} {
		lan.Must(t, f.Publish(port(proto, "0.0.0.0:8081", "hoy0", "172.17.0.2:81"), port(proto, "[::]:8081", "hoy0", "[fd00:17::2]:81")))
	}
	w.Peer.Expect(t, "172.17.0.2:81", "web sees 192.0.2.2")
	w.Peer.Expect(t, "[fd00:17::2]:81", "web sees 2001:db8:2::2")
	lan.Must(t, f.Unpublish(again))
	w.Peer.Expect(t, "172.17.0.2:81", "web sees 192.0.2.2")
	w.Peer.Expect(t, "172.17.0.2:80", "")
	w.Other.Expect(t, "172.17.0.2:80", "")
}

// TestLoopbackIsTheHosts: what is published or listens at 127.0.0.1 is not reached from
// elsewhere, though the kernel routes that address on the bridges (CVE-2020-8558).
func TestLoopbackIsTheHosts(t *testing.T) {
	w, _ := begin(t, []Network{hoy0, hoy1}, published...)
	w.Host.Serve(t, 81)
	w.Host.Expect(t, "127.0.0.1:5432", "web sees 172.17.0.1")
	w.Host.Expect(t, "127.0.0.1:81", "host sees 127.0.0.1")
	inbox, err := net.ListenPacket("udp4", ":82")
	lan.Must(t, err)
	defer inbox.Close()
	for _, c := range []struct {
		host        lan.Host
		gateway, as string
	}{{w.Peer, "192.0.2.1", "192.0.2.2"}, {w.Web, "172.17.0.1", "172.17.0.2"}, {w.Other, "172.18.0.1", "172.18.0.2"}} {
		c.host.Sysctl(t, "ipv4/conf/eth0/route_localnet", "1")
		// As the host's own address, to where the host may trust it.
		c.host.Tell(t, "127.0.0.1", c.gateway+":82", "by 127.0.0.1")
		b, n := make([]byte, 100), 0
		for end := time.Now().Add(lan.Patience); n == 0 && time.Now().Before(end); {
			c.host.Tell(t, c.as, c.gateway+":82", "by itself")
			inbox.SetReadDeadline(time.Now().Add(lan.Silence))
			n, _, _ = inbox.ReadFrom(b)
		}
		if string(b[:n]) != "by itself" {
			t.Errorf("%s reaches the host %q", c.host.Name, b[:n])
		}
		lan.Must(t, c.host.Do(func() error { return lan.LoopbackElsewhere(c.gateway) }))
		for _, to := range []string{"127.0.0.1:5432", "127.0.0.1:8080", "127.0.0.1:81"} {
			if got := c.host.Ask("tcp", to, lan.Silence, c.as); got != "" {
				t.Errorf("%s to %s of the host: %s", c.host.Name, to, got)
			}
		}
	}
}

// TestPolicy: the host's own policy decides on published ports, before and after they
// are published, but for networks that choose docker's behaviour.
func TestPolicy(t *testing.T) {
	unasked := hoy1
	unasked.Unguarded = true
	other := []Port{port("tcp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80"), port("udp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80"),
		port("tcp", "[::]:8081", "hoy1", "[fd00:18::2]:80"), port("udp", "[::]:8081", "hoy1", "[fd00:18::2]:80")}
	w, f := begin(t, []Network{hoy0, unasked}, append(other, published...)...)
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	lan.Must(t, f.SetPolicy(Policy{Firewall: "a test's", Refuse: true, Rules: []PolicyRule{
		{Comment: "the peer", From: prefixOf("192.0.2.2/32"), First: 8080, Last: 8080, Proto: "tcp"},
		{Comment: "the peer", From: prefixOf("192.0.2.2/32"), First: 8000, Last: 8090, Proto: "udp"},
	}}))
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	w.Far.Expect(t, "192.0.2.1:8080", "")
	w.Peer.Expect(t, "[2001:db8:2::1]:8080", "")
	w.Host.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.1")
	w.Far.Expect(t, "192.0.2.1:8081", "other sees 198.51.100.9")
	w.Far.Expect(t, "[2001:db8:2::1]:8081", "other sees 2001:db8:100::9")
	lan.Must(t, f.Unpublish(other[2:]...)) // the same numbers of the other family stay unasked
	w.Far.Expect(t, "192.0.2.1:8081", "other sees 198.51.100.9")
	lan.Must(t, f.Unpublish(append(other[:2:2], published...)...))
	lan.Must(t, f.Publish(published...))
	w.Far.Expect(t, "192.0.2.1:8080", "")
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
}

// TestMTU: behind a link of smaller packets than the container's own, that nobody but
// the router knows of, answers arrive whole: the router's complaint finds its way to the
// container.
func TestMTU(t *testing.T) {
	w, _ := begin(t, []Network{hoy0, hoy1},
		port("tcp", "0.0.0.0:8090", "hoy0", "172.17.0.2:90"), port("tcp", "[::]:8090", "hoy0", "[fd00:17::2]:90"))
	lan.Must(t, w.Router.Do(func() error {
		l, err := netlink.LinkByName("to-far")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(l, 1300)
	}))
	const size = 1 << 20
	lan.Must(t, w.Web.Do(func() error {
		l, err := net.Listen("tcp", ":90")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Write(make([]byte, size))
				c.Close()
			}
		}()
		return nil
	}))
	for _, to := range []string{"192.0.2.1:8090", "[2001:db8:2::1]:8090"} {
		lan.Must(t, w.Far.Do(func() error {
			c, err := net.DialTimeout("tcp", to, lan.Patience)
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(lan.Patience))
			n, err := io.Copy(io.Discard, c)
			if err != nil || n != size {
				t.Errorf("%s: %d bytes of %d: %v", to, n, size, err)
			}
			return nil
		}))
	}
}
