package firewall

import (
	"net"
	"os"
	"testing"
	"time"

	"hoy/test/rootful"
)

// begin makes the world with a firewall.
func begin(t testing.TB, networks []Network, ports ...Port) (topology, *Firewall) {
	t.Helper()
	rootful.Check(t)
	w := world(t)
	f := open(t, "hoy-hoy0")
	must(t, f.Sync(networks, ports))
	return w, f
}

// TestPublished: who reaches a published port, and as whom, whether or not the packets
// that bridges switch meet the rules.
func TestPublished(t *testing.T) {
	for name, value := range map[string]string{"switched": "0", "switched and filtered": "1"} {
		t.Run(name, func(t *testing.T) {
			before, err := os.ReadFile(callIPTables)
			must(t, err)
			for _, path := range []string{callIPTables, callIP6Tables} {
				must(t, os.WriteFile(path, []byte(value), 0))
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
		w.peer.expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
		w.peer.expect(t, "[2001:db8:2::1]:8080", "web sees 2001:db8:2::2")
		w.far.expect(t, "192.0.2.1:8080", "web sees 198.51.100.9")
		w.far.expect(t, "[2001:db8:2::1]:8080", "web sees 2001:db8:100::9")
		w.host.expect(t, "192.0.2.1:8080", "web sees 192.0.2.1")
		w.host.expect(t, "[2001:db8:2::1]:8080", "web sees 2001:db8:2::1")
		w.host.expect(t, "127.0.0.1:8080", "web sees 172.17.0.1")
		w.host.expect(t, "127.0.0.1:5432", "web sees 172.17.0.1")
		// By the gateway's address, as host.docker.internal has it.
		w.db.expect(t, "172.17.0.1:8080", "web sees 172.17.0.1")
		w.db.expect(t, "192.0.2.1:8080", "web sees 172.17.0.1")
		w.db.expect(t, "[2001:db8:2::1]:8080", "web sees fd00:17::1")
		w.web.expect(t, "192.0.2.1:8080", "web sees 172.17.0.1") // itself
		w.web.expect(t, "[2001:db8:2::1]:8080", "web sees fd00:17::1")
		w.other.expect(t, "192.0.2.1:8080", "web sees 172.17.0.1")
		w.other.expect(t, "[2001:db8:2::1]:8080", "web sees fd00:17::1")
	}
	both()
	must(t, f.Unpublish(published...))
	w.peer.expect(t, "192.0.2.1:8080", "")
	w.peer.expect(t, "[2001:db8:2::1]:8080", "")
	w.host.expect(t, "127.0.0.1:8080", "")
	must(t, f.Publish(published...))
	both()
}

// TestDirect: a container's own address is reached from its network and the host alone.
func TestDirect(t *testing.T) {
	w, _ := begin(t, []Network{hoy0, hoy1}, published...)
	w.db.expect(t, "172.17.0.2:80", "web sees 172.17.0.3")
	w.db.expect(t, "[fd00:17::2]:80", "web sees fd00:17::3")
	w.host.expect(t, "172.17.0.2:80", "web sees 172.17.0.1")
	w.host.expect(t, "[fd00:17::2]:80", "web sees fd00:17::1")
	for _, h := range []host{w.peer, w.far, w.router, w.other} {
		h.expect(t, "172.17.0.2:80", "")
		h.expect(t, "[fd00:17::2]:80", "")
	}
}

// TestLeaving: containers reach the world, and are seen as the host unless told otherwise.
func TestLeaving(t *testing.T) {
	w, f := begin(t, []Network{hoy0, hoy1})
	w.web.expect(t, "192.0.2.2:80", "peer sees 192.0.2.1")
	w.web.expect(t, "[2001:db8:2::2]:80", "peer sees 2001:db8:2::1")
	w.web.expect(t, "198.51.100.9:80", "far sees 192.0.2.1")
	w.web.expect(t, "[2001:db8:100::9]:80", "far sees 2001:db8:2::1")

	n := hoy0
	n.NoMasq, n.NoMasq6 = true, true
	must(t, f.AddNetwork(n))
	w.web.expect(t, "192.0.2.2:80", "peer sees 172.17.0.2")
	w.web.expect(t, "[2001:db8:2::2]:80", "peer sees fd00:17::2")

	n = hoy0
	n.Source, n.Source6 = prefixOf("192.0.2.7/32").Addr(), prefixOf("2001:db8:2::7/128").Addr()
	w.host.addresses(t, "lan0", "192.0.2.7/24", "2001:db8:2::7/64")
	must(t, f.AddNetwork(n))
	w.web.expect(t, "192.0.2.2:80", "peer sees 192.0.2.7")
	w.web.expect(t, "[2001:db8:2::2]:80", "peer sees 2001:db8:2::7")
}

// TestInternal: nothing in, nothing out, whatever is published.
func TestInternal(t *testing.T) {
	n := hoy0
	n.Internal = true
	w, _ := begin(t, []Network{n, hoy1}, append(published, port("tcp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80"), port("udp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80"))...)
	w.db.expect(t, "172.17.0.2:80", "web sees 172.17.0.3")
	w.db.expect(t, "[fd00:17::2]:80", "web sees fd00:17::3")
	w.peer.expect(t, "192.0.2.1:8080", "")
	w.peer.expect(t, "172.17.0.2:80", "")
	w.other.expect(t, "172.17.0.2:80", "")
	for _, to := range []string{"192.0.2.2:80", "[2001:db8:2::2]:80", "198.51.100.9:80", "172.18.0.2:80", "192.0.2.1:8081"} {
		w.web.expect(t, to, "")
	}
	w.peer.expect(t, "192.0.2.1:8081", "other sees 192.0.2.2")
}

// TestApart: with NoICC containers reach each other by links and published ports alone,
// also those that send by the gateway what is for a neighbour.
func TestApart(t *testing.T) {
	n := hoy0
	n.NoICC = true
	w, f := begin(t, []Network{n, hoy1}, published...)
	// What is for the neighbour, by the gateway.
	w.db.route(t, "172.17.0.2/32", "172.17.0.1")
	w.db.expect(t, "172.17.0.2:80", "")
	w.web.expect(t, "172.17.0.3:80", "")
	w.web.expect(t, "[fd00:17::3]:80", "")
	w.db.expect(t, "172.17.0.1:8080", "web sees 172.17.0.1")
	w.peer.expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	w.web.expect(t, "192.0.2.2:80", "peer sees 192.0.2.1")

	var linked []Allow
	for _, proto := range []string{"tcp", "udp"} {
		linked = append(linked,
			Allow{prefixOf("172.17.0.2/32").Addr(), prefixOf("172.17.0.3/32").Addr(), proto, 80},
			Allow{prefixOf("fd00:17::2/128").Addr(), prefixOf("fd00:17::3/128").Addr(), proto, 80})
	}
	w.db.serve(t, 81)
	must(t, f.Allow("hoy0", linked...))
	must(t, f.Allow("hoy0", linked[0])) // twice is once
	w.web.expect(t, "172.17.0.3:80", "db sees 172.17.0.2")
	w.web.expect(t, "[fd00:17::3]:80", "db sees fd00:17::2")
	w.web.expect(t, "172.17.0.3:81", "")
	w.db.expect(t, "172.17.0.2:80", "")
	must(t, f.Disallow("hoy0", linked...))
	w.web.expect(t, "[fd00:17::3]:80", "")
	w.web.expect(t, "172.17.0.3:80", "")
}

// TestModes: how a network is reached from outside.
func TestModes(t *testing.T) {
	n := hoy0
	n.Mode, n.Mode6 = NATUnprotected, Routed
	w, f := begin(t, []Network{n, hoy1})
	w.web.serve(t, 81)
	must(t, f.Publish(port("tcp", "[::]:0", "hoy0", "[fd00:17::2]:80"), port("udp", "[::]:0", "hoy0", "[fd00:17::2]:80")))
	w.peer.expect(t, "172.17.0.2:81", "web sees 192.0.2.2")
	w.peer.expect(t, "[fd00:17::2]:80", "web sees 2001:db8:2::2")
	w.peer.expect(t, "[fd00:17::2]:81", "")
	w.web.expect(t, "192.0.2.2:80", "peer sees 192.0.2.1")
	w.web.expect(t, "[2001:db8:2::2]:80", "peer sees fd00:17::2")

	n = hoy0
	n.Trusted = []string{"lan0"}
	must(t, f.Unpublish(f.Ports()...))
	must(t, f.AddNetwork(n))
	w.peer.expect(t, "172.17.0.2:81", "web sees 192.0.2.2")
	w.peer.expect(t, "[fd00:17::2]:81", "web sees 2001:db8:2::2")
	w.other.expect(t, "172.17.0.2:80", "")
}

// TestLoopbackIsTheHosts: what is published or listens at 127.0.0.1 is not reached from
// elsewhere, though the kernel routes that address on the bridges (CVE-2020-8558).
func TestLoopbackIsTheHosts(t *testing.T) {
	w, _ := begin(t, []Network{hoy0, hoy1}, published...)
	w.host.serve(t, 81)
	w.host.expect(t, "127.0.0.1:5432", "web sees 172.17.0.1")
	w.host.expect(t, "127.0.0.1:81", "host sees 127.0.0.1")
	inbox, err := net.ListenPacket("udp4", ":82")
	must(t, err)
	defer inbox.Close()
	for _, c := range []struct {
		host        host
		gateway, as string
	}{{w.peer, "192.0.2.1", "192.0.2.2"}, {w.web, "172.17.0.1", "172.17.0.2"}, {w.other, "172.18.0.1", "172.18.0.2"}} {
		c.host.sysctl(t, "ipv4/conf/eth0/route_localnet", "1")
		// As the host's own address, to where the host may trust it.
		c.host.tell(t, "127.0.0.1", c.gateway+":82", "by 127.0.0.1")
		b, n := make([]byte, 100), 0
		for end := time.Now().Add(patience); n == 0 && time.Now().Before(end); {
			c.host.tell(t, c.as, c.gateway+":82", "by itself")
			inbox.SetReadDeadline(time.Now().Add(silence))
			n, _, _ = inbox.ReadFrom(b)
		}
		if string(b[:n]) != "by itself" {
			t.Errorf("%s reaches the host %q", c.host.name, b[:n])
		}
		must(t, c.host.do(func() error { return loopbackElsewhere(c.gateway) }))
		for _, to := range []string{"127.0.0.1:5432", "127.0.0.1:8080", "127.0.0.1:81"} {
			if got := c.host.ask("tcp", to, silence, c.as); got != "" {
				t.Errorf("%s to %s of the host: %s", c.host.name, to, got)
			}
		}
	}
}
