package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"hoy/network/firewall"
)

// publishing is a change to a container on one bridge that publishes n ports already.
func publishing(n int) *change {
	seg := &segment{Network: Network{Name: "front", ID: "n1", Driver: "bridge", Link: "br0"}}
	nets := &Networks{firewall: alone{}, keeper: alone{}, segments: map[string]*segment{"n1": seg}, loose: map[hostPort]bool{},
		anywhere: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}}
	s := &Sandbox{ContainerID: "c", Endpoints: []Endpoint{{Network: "front", NetworkID: "n1", Driver: "bridge",
		Address: netip.MustParsePrefix("172.20.0.2/16"), Gateway: netip.MustParseAddr("172.20.0.1")}}}
	for i := range n {
		p := uint16(10000 + i)
		s.Publish = append(s.Publish, PortRequest{Proto: "udp", Container: p, First: p, Last: p})
		for _, a := range nets.anywhere {
			s.Ports = append(s.Ports, firewall.Port{Proto: "udp", Host: netip.AddrPortFrom(a, p), Link: "br0", Container: netip.AddrPortFrom(s.Endpoints[0].Address.Addr(), p)})
		}
	}
	return nets.change(context.Background(), &member{now: s})
}

// published are the ports of the host that a change has come to, "127.0.0.1 n" for those of
// number and "127.0.0.1" for others.
func published(c *change, number uint16) (all []string) {
	for _, p := range c.s.Ports {
		if p.Host.Port() == number {
			all = append(all, fmt.Sprint(p.Host.Addr(), " n"))
		} else {
			all = append(all, p.Host.Addr().String())
		}
	}
	slices.Sort(all)
	return all
}

// TestSameNumberEverywhere publishes a port at several addresses by one number, which is
// free at all of them, as dockerd does where the number is left open.
func TestSameNumberEverywhere(t *testing.T) {
	addr := netip.MustParseAddr
	busy, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("there is no IPv6 here: ", err)
	}
	defer busy.Close()
	first := netip.MustParseAddrPort(busy.Addr().String()).Port()
	ask := func(host string, first, last uint16) PortRequest {
		return PortRequest{Proto: "tcp", Container: 80, HostIP: addr(host), First: first, Last: last}
	}
	c := publishing(0)
	defer func() { c.undo.Run() }()
	c.s.Publish = []PortRequest{ask("127.0.0.1", first, first+20), ask("127.0.0.2", first, first+20), ask("::1", first, first+20), ask("127.0.0.1", first, first+20)}
	if err := c.publish(); err != nil {
		t.Fatal(err)
	}
	n := c.s.Ports[0].Host.Port()
	if got, want := published(c, n), []string{"127.0.0.1", "127.0.0.1 n", "127.0.0.2 n", "::1 n"}; n == first || !slices.Equal(got, want) {
		t.Errorf("by %d: %v, want %v", n, got, want)
	}
	// What is published already stays; what comes later gets a number of its own.
	c.was.Ports = slices.Clone(c.s.Ports)
	c.s.Publish = append([]PortRequest{ask("127.0.0.3", 0, 0), ask("127.0.0.4", 0, 0)}, c.s.Publish...)
	if err := c.publish(); err != nil {
		t.Fatal(err)
	}
	if got, want := published(c, n), []string{"127.0.0.1", "127.0.0.1 n", "127.0.0.2 n", "127.0.0.3", "127.0.0.4", "::1 n"}; !slices.Equal(got, want) || c.s.Ports[0].Host.Port() != c.s.Ports[1].Host.Port() {
		t.Errorf("by %d: %v, want %v", n, c.s.Ports, want)
	}
	for _, p := range c.was.Ports {
		if !slices.Contains(c.s.Ports, p) {
			t.Errorf("%s has not stayed", p.Host)
		}
	}
}

// TestThousandsOfPorts: what a container with many ports joins or leaves does not take it
// minutes.
func TestThousandsOfPorts(t *testing.T) {
	c := publishing(10000)
	if err := c.publish(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.s.Ports, c.was.Ports) || len(c.done) > 0 {
		t.Errorf("%d ports, were %d; %d are given back", len(c.s.Ports), len(c.was.Ports), len(c.done))
	}
}

// BenchmarkPublishAgain has a container with 1,000 published ports join another network:
// each stays where it is.
func BenchmarkPublishAgain(b *testing.B) {
	for b.Loop() {
		c := publishing(1000)
		if err := c.publish(); err != nil {
			b.Fatal(err)
		}
	}
}
