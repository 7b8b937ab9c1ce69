package keeper

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
)

// TestManyHoldsAreListed: what is held for more containers, and at more ports, than a
// message has room for.
func TestManyHoldsAreListed(t *testing.T) {
	s := newServer(t.TempDir(), nil)
	ports := map[string]int{}
	for i := range 3000 {
		id := fmt.Sprintf("%064d", i)
		h := &hold{HeldNetwork: HeldNetwork{ID: id, Generation: 7}, ports: map[portKey]*heldPort{}}
		switch ports[id] = i % 3; i {
		case 5:
			ports[id] = 4000
		case 6:
			ports[id] = 2 * portsListed
		}
		for p := range ports[id] {
			h.ports[portKey{"tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(p))}] = nil
		}
		s.networks.held[id] = h
	}
	here, there := sockets(t)
	go (&conn{socket: there, s: s}).serve()
	c := &Client{changed: make(chan struct{}), ctx: t.Context()}
	c.link = newLink(here)
	go c.link.read(c)
	t.Cleanup(c.link.end)
	held, err := c.NetworkHolds(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != len(ports) {
		t.Errorf("%d are listed, %d are held", len(held), len(ports))
	}
	for _, h := range held {
		if h.Generation != 7 || h.Ports == nil || len(h.Ports) != ports[h.ID] {
			t.Errorf("of %s %d ports are listed, %d are held", h.ID, len(h.Ports), ports[h.ID])
		}
	}
}
