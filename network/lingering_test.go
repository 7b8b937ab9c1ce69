package network

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"hoy/linux/netlink"
	"hoy/test/eventually"
)

// unheard leaves a connection of the namespace behind that has something to send, and a peer
// that does not answer: the kernel keeps the namespace for it.
func unheard(t *testing.T, p place, to netip.Addr) {
	t.Helper()
	var c net.Conn
	err := netlink.In(p.NetNS, func() (err error) { c, err = net.Dial("tcp", netip.AddrPortFrom(to, 80).String()); return err })
	if err != nil {
		t.Fatal(err)
	}
	run(t, here(t), "ip", "link", "set", p.Endpoint.Link, "down")
	if _, err := c.Write([]byte("unheard")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// listener takes connections to port 80 here, and says nothing.
func listener(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// TestLinkGoesWithItsContainer although a connection keeps its namespace: its address may
// be another's.
func TestLinkGoesWithItsContainer(t *testing.T) {
	n, _ := openWith(t, Options{})
	listener(t)
	s, err := n.Attach(context.Background(), on("a", EndpointRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	link := s.Endpoints[0].Link
	unheard(t, place{s.Endpoints[0], s}, netip.MustParseAddr("10.213.0.1"))
	s.Close()
	n.Detach("a")
	eventually.True(t, "the link is gone", func() bool { _, err := netlink.Index(link); return err != nil })
}

// TestLinkGoesWithTheEngine as well.
func TestLinkGoesWithTheEngine(t *testing.T) {
	n, _ := openWith(t, Options{})
	listener(t)
	unheard(t, attach(t, n, "a", "bridge"), netip.MustParseAddr("10.213.0.1"))
}
