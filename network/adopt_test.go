package network

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"hoy/lib/fault"
	"hoy/network/firewall"
)

// TestAdoptAfterLostRecord takes a container over that the networks' record has been lost
// of: it keeps its address and ports, since the default network is the same under another
// id. What it has of a network that is not there any more is given up.
func TestAdoptAfterLostRecord(t *testing.T) {
	addr := netip.MustParseAddr
	bridge, err := restored(&Network{Name: "bridge", ID: "new", Driver: "bridge", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("172.17.0.0/16"), Gateway: addr("172.17.0.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	n := &Networks{firewall: alone{}, keeper: alone{}, segments: map[string]*segment{"new": bridge}, attached: map[string]*member{}, loose: map[hostPort]bool{}}
	n.left.L = &n.mu
	s := Sandbox{ContainerID: "c", Endpoints: []Endpoint{
		{Network: "back", NetworkID: "lost", EndpointID: "e1", Driver: "bridge", Address: netip.MustParsePrefix("172.18.0.2/16")},
		{Network: "bridge", NetworkID: "old", EndpointID: "e2", Driver: "bridge", Address: netip.MustParsePrefix("172.17.0.2/16")},
	}, Ports: []firewall.Port{{Proto: "tcp", Host: netip.MustParseAddrPort("0.0.0.0:8080"), Container: netip.MustParseAddrPort("172.17.0.2:80")}}}
	if err := n.Adopt(s); err != nil {
		t.Fatal(err)
	}
	if got := n.Sandbox("c"); got == nil || got.Endpoints[1].NetworkID != "new" || s.Endpoints[1].NetworkID != "old" {
		t.Errorf("attached is %+v", got)
	}
	if _, there := n.Endpoints("new")["c"]; !there || bridge.uses != 1 {
		t.Error("the network does not have the container")
	}
	if _, _, err := bridge.claim(false, addr("172.17.0.2"), never); !fault.Is(err, fault.Forbidden) {
		t.Errorf("its address is given to another: %v", err)
	}
	if err := n.ports.Claim("tcp", netip.MustParseAddrPort("127.0.0.1:8080")); err == nil {
		t.Error("its port is given to another")
	}
	c := n.change(context.Background(), n.attached["c"])
	if c.segment(&c.s.Endpoints[0]) != nil || slices.Equal(n.namedOf(c.s), []string{"lost"}) {
		t.Error("a network is there that was lost")
	}
	n.Detach("c")
	if _, _, err := bridge.claim(false, addr("172.17.0.2"), never); err != nil || bridge.uses != 0 {
		t.Errorf("its address is not given back: %v, %d uses", err, bridge.uses)
	}
}
