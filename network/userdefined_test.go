package network

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"hoy/lib/fault"
	"hoy/linux/netlink"
	"hoy/test/rootful"
)

// openWith opens networks with a keeper that records.
func openWith(t *testing.T, o Options) (*Networks, *holder) {
	t.Helper()
	rootful.Check(t)
	h := newHolder()
	o.Keeper, o.Firewall, o.Bridge = h, rules(t), "hoytest0"
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	if !o.BIP.IsValid() {
		o.BIP = netip.MustParsePrefix("10.213.0.1/24")
	}
	n, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	start(t, n)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if !h.empty() {
			t.Errorf("the keeper holds what nobody has: %v %v", h.holds, h.names)
		}
	})
	return n, h
}

func create(t *testing.T, n *Networks, r CreateRequest) *Network {
	t.Helper()
	net, _, err := n.Create(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(context.Background(), net.ID); err != nil && !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
	})
	return net
}

func TestUserDefinedBridge(t *testing.T) {
	n, h := openWith(t, Options{})
	back := create(t, n, CreateRequest{Name: "back", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.214.0.0/24")}}})
	front := create(t, n, CreateRequest{Name: "front"})
	a, b := attach(t, n, "a", "back"), attach(t, n, "b", "back", "front")
	serve(t, a.NetNS)
	if got, err := ask(b.NetNS, a.Endpoint.Address.Addr()); err != nil || got != b.Endpoints[0].Address.Addr().String() {
		t.Errorf("from b: a saw %q, %v", got, err)
	}
	if got := h.namesOf(back.ID); !slices.Equal(got["a"], []netip.Addr{a.Endpoint.Address.Addr()}) || len(got) != 2 {
		t.Errorf("names of back: %v", got)
	}
	if got := h.namesOf(front.ID); len(got) != 1 {
		t.Errorf("names of front: %v", got)
	}
	if err := n.Remove(context.Background(), "back"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a network with containers was removed: %v", err)
	}
	s, err := n.Disconnect(context.Background(), "b", b.NetNS, "back")
	if err != nil || len(s.Endpoints) != 1 {
		t.Fatalf("disconnected: %v, %v", s, err)
	}
	if got, err := ask(b.NetNS, a.Endpoint.Address.Addr()); err == nil {
		t.Errorf("a is reached from another network: it saw %q", got)
	}
	if s, err = n.Connect(context.Background(), "b", b.NetNS, EndpointRequest{Network: "back", Names: []string{"bee"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(b.NetNS, a.Endpoint.Address.Addr()); err != nil || got != s.Endpoints[1].Address.Addr().String() || s.Endpoints[1].Interface != "eth0" {
		t.Errorf("connected again: a saw %q, %v; b has %+v", got, err, s.Endpoints[1])
	}
	if got := h.namesOf(back.ID); len(got["bee"]) != 1 {
		t.Errorf("names of back: %v", got)
	}
}

func TestPublish(t *testing.T) {
	n, h := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "back"})
	r := on("a", EndpointRequest{})
	r.Publish = []PortRequest{{Proto: "tcp", Container: 80, First: 8080, Last: 8080}, {Proto: "udp", Container: 53, HostIP: netip.MustParseAddr("127.0.0.1")}}
	a := attachTo(t, n, r)
	if len(a.Ports) != 3 || a.Ports[0].Host.String() != "0.0.0.0:8080" || a.Ports[1].Host.String() != "[::]:8080" {
		t.Errorf("published: %v", a.Ports)
	}
	other := on("b", EndpointRequest{})
	other.Publish = r.Publish[:1]
	if _, err := n.Attach(context.Background(), other); err == nil {
		t.Error("a port was published twice")
	}
	// The default route moves to the new network, and with it the ports.
	s, err := n.Connect(context.Background(), "a", a.NetNS, EndpointRequest{Network: "back", Priority: 1})
	if err != nil {
		t.Fatal(err)
	}
	to := s.Endpoints[1].Address.Addr().String()
	if got := h.ports("a"); len(got) != 3 || got[0] != "tcp 0.0.0.0:8080 "+to+":80" {
		t.Errorf("held: %v", got)
	}
	if s, err = n.Publish(context.Background(), "a", []PortRequest{{Proto: "tcp", Container: 81}}, r.Publish[1:]); err != nil || len(s.Ports) != 4 {
		t.Errorf("published: %v, %v", s, err)
	}
	if s, err = n.Disconnect(context.Background(), "a", a.NetNS, "back"); err != nil || s.Ports[0].Container.Addr() != a.Endpoint.Address.Addr() {
		t.Errorf("disconnected: %v, %v", s, err)
	}
}

// TestUserNamespace has a container of a user namespace on a network with names.
func TestUserNamespace(t *testing.T) {
	n, _ := openWith(t, Options{UserMap: modes["user namespace"]})
	create(t, n, CreateRequest{Name: "back", IPv6: &yes})
	a := attach(t, n, "a", "back", "bridge")
	b := attachTo(t, n, AttachRequest{ContainerID: "b", HostUser: true, Endpoints: []EndpointRequest{{Network: "back"}}})
	if a.UserNS == nil || b.UserNS != nil {
		t.Errorf("user namespaces: %v, %v", a.UserNS, b.UserNS)
	}
	serve(t, b.NetNS)
	reaches(t, a, b.Endpoint.Address.Addr())
	reaches(t, a, b.Endpoint.Address6.Addr())
	if open, err := hasResolver(a.NetNS); err != nil || !open {
		t.Errorf("no resolver: %v", err)
	}
}

// TestSCTP publishes a port of a protocol that the kernel may lack.
func TestSCTP(t *testing.T) {
	n, h := openWith(t, Options{})
	r := on("a", EndpointRequest{})
	r.Publish = []PortRequest{{Proto: "sctp", Container: 80, First: 8080, Last: 8080}, {Proto: "tcp", Container: 80}}
	a := attachTo(t, n, r)
	if len(a.Ports) != 4 {
		t.Errorf("published: %v, held: %v", a.Ports, h.ports("a"))
	}
}

// TestOwnNameServer starts a name server in a container that has a resolver.
func TestOwnNameServer(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "back"})
	a := attach(t, n, "a", "back")
	if err := netlink.In(a.NetNS, func() error { return listenEverywhere(53) }); err != nil {
		t.Errorf("port 53 of the container is taken: %v", err)
	}
}
