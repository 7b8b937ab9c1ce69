package network

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"hoy/network/firewall"
)

// breaking is a firewall whose next Publish fails.
type breaking struct {
	*firewall.Firewall
	broken bool
}

func (b *breaking) Publish(ports ...firewall.Port) error {
	if b.broken {
		b.broken = false
		return errors.New("broken")
	}
	return b.Firewall.Publish(ports...)
}

// TestFailedDisconnect fails after the keeper has let go of the resolver and of the ports
// of the network that is left: it gets them again.
func TestFailedDisconnect(t *testing.T) {
	fw := &breaking{}
	n, h := openWith(t, Options{})
	fw.Firewall = n.firewall.(*firewall.Firewall)
	n.firewall = fw
	create(t, n, CreateRequest{Name: "back"})
	a := attachTo(t, n, AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "back", Names: []string{"a"}}, {Network: "bridge", Priority: -1}},
		Publish: []PortRequest{{Proto: "tcp", Container: 80, First: 8080, Last: 8080}}})
	before, ports, held := n.Sandbox("a"), fw.Ports(), h.ports("a")
	fw.broken = true
	if _, err := n.Disconnect(context.Background(), "a", a.NetNS, "back"); err == nil {
		t.Fatal("it did not fail")
	}
	if after := n.Sandbox("a"); !reflect.DeepEqual(after, before) || !reflect.DeepEqual(fw.Ports(), ports) || !reflect.DeepEqual(h.ports("a"), held) {
		t.Errorf("after the failure: %+v, forwarded %v, held %v", after, fw.Ports(), h.ports("a"))
	}
	if r := h.holds["a"].Resolver; r == nil || len(r.Networks) != 1 {
		t.Errorf("the resolver is not held any more: %+v", r)
	}
	if open, err := hasResolver(a.NetNS); err != nil || !open {
		t.Errorf("nobody listens at the resolver's address: %v", err)
	}
	if _, err := n.Disconnect(context.Background(), "a", a.NetNS, "back"); err != nil {
		t.Error(err)
	}
}
