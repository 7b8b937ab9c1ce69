package network

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"hoy/lib/fault"
	"hoy/linux/netlink"
	"hoy/network/firewall"
	"hoy/test/eventually"
)

// reopened is the next engine's networks, which adopt a container.
func reopened(t *testing.T, n *Networks, h *holder, a place) *Networks {
	t.Helper()
	ctx := context.Background()
	next, err := Open(ctx, Options{Root: n.opts.Root, Keeper: h, Firewall: rules(t), Bridge: "hoytest0", BIP: n.opts.BIP, Ready: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Adopt(*n.Sandbox(a.ContainerID)); err != nil {
		t.Fatal(err)
	}
	next.Settle(ctx, func(string) (*os.File, error) { return dup(a.NetNS), nil })
	start(t, next)
	return next
}

// TestPortTakenMeanwhile: a program takes a published port while no keeper holds it. All
// else of the container goes on, with the next engine too.
func TestPortTakenMeanwhile(t *testing.T) {
	n, h := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "back"})
	create(t, n, CreateRequest{Name: "front"})
	a := attachTo(t, n, AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "back", Names: []string{"a"}}}, Publish: []PortRequest{{Proto: "tcp", Container: 80, First: 8080, Last: 8080}}})
	h.die()
	program, err := net.Listen("tcp4", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	check := func(when string, n *Networks, held ...string) {
		t.Helper()
		for i, p := range held {
			held[i] = "tcp " + p + " " + n.Sandbox("a").Ports[0].Container.String()
		}
		if got := h.ports("a"); !slices.Equal(got, held) || h.holds["a"].Resolver == nil {
			t.Errorf("%s: held are %v, a resolver %v; want %v", when, got, h.holds["a"].Resolver, held)
		}
		if _, err := n.Connect(context.Background(), "a", a.NetNS, EndpointRequest{Network: "front"}); err != nil {
			t.Errorf("%s: %v", when, err)
		} else if _, err := n.Disconnect(context.Background(), "a", a.NetNS, "front"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	if err := n.Rehold(context.Background(), func(string) (*os.File, error) { return dup(a.NetNS), nil }); err != nil {
		t.Fatal(err)
	}
	check("the next keeper", n, "[::]:8080")
	next := reopened(t, n, h, a)
	check("the next engine", next, "[::]:8080")
	program.Close()
	next = reopened(t, next, h, a)
	check("the port is free again", next, "0.0.0.0:8080", "[::]:8080")
}

// TestRandomPortsStay each its own when what is published is gone through again.
func TestRandomPortsStay(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "back"})
	any := PortRequest{Proto: "tcp", Container: 80}
	r := on("a", EndpointRequest{})
	r.Publish = []PortRequest{any, any}
	a := attachTo(t, n, r)
	s, err := n.Connect(context.Background(), "a", a.NetNS, EndpointRequest{Network: "back"})
	if err != nil {
		t.Fatal(err)
	}
	same := func(p, q firewall.Port) bool { return p.Host == q.Host }
	if !slices.EqualFunc(a.Ports, s.Ports, same) {
		t.Errorf("published were %v, are %v", a.Ports, s.Ports)
	}
}

// TestOthersPortsOfTheBridge stay: only what engines have made is swept away.
func TestOthersPortsOfTheBridge(t *testing.T) {
	n, h := openWith(t, Options{})
	a := attach(t, n, "a", "bridge")
	run(t, here(t), "ip", "link", "add", "vethsomebody", "type", "veth", "peer", "name", "hoyfar0")
	t.Cleanup(func() { netlink.DelLink("vethsomebody") })
	run(t, here(t), "ip", "link", "set", "vethsomebody", "master", "hoytest0")
	run(t, here(t), "ip", "link", "add", "veth0123abc", "type", "veth", "peer", "name", "hoyfar1")
	run(t, here(t), "ip", "link", "set", "veth0123abc", "master", "hoytest0")
	reopened(t, n, h, a)
	if names := linkNames(); !slices.Contains(names, "vethsomebody") || slices.Contains(names, "veth0123abc") {
		t.Errorf("links after a start: %v", names)
	}
}

// TestBridgeDeletedWhileNoEngine runs: the next one makes it again, and its containers
// its ports.
func TestBridgeDeletedWhileNoEngine(t *testing.T) {
	n, h := openWith(t, Options{Ready: -1})
	a := attach(t, n, "a", "bridge")
	if err := netlink.DelLink("hoytest0"); err != nil {
		t.Fatal(err)
	}
	reopened(t, n, h, a)
	serveHere(t)
	reaches(t, a, netip.MustParseAddr("10.213.0.1"))
}

// TestRenamedLink: a program in the container gives its link another name. It keeps its
// address and ports when an engine starts.
func TestRenamedLink(t *testing.T) {
	n, h := openWith(t, Options{Ready: -1})
	r := on("a", EndpointRequest{})
	r.Publish = []PortRequest{{Proto: "tcp", Container: 80, First: 8080, Last: 8080}}
	a := attachTo(t, n, r)
	run(t, a.NetNS, "ip", "link", "set", "eth0", "down")
	run(t, a.NetNS, "ip", "link", "set", "eth0", "name", "wan")
	run(t, a.NetNS, "ip", "link", "set", "wan", "up")
	next := reopened(t, n, h, a)
	if s := next.Sandbox("a"); len(s.Endpoints) != 1 || len(s.Ports) != len(a.Ports) || len(h.ports("a")) != len(a.Ports) {
		t.Errorf("it has %+v, %v, held are %v", s.Endpoints, s.Ports, h.ports("a"))
	}
	if b := attach(t, next, "b", "bridge"); b.Endpoint.Address == a.Endpoint.Address {
		t.Errorf("%s is given to two", b.Endpoint.Address)
	}
}

// TestDefaultSubnetOfAnother is refused: addresses would be given twice.
func TestDefaultSubnetOfAnother(t *testing.T) {
	n, h := openWith(t, Options{Ready: -1})
	create(t, n, CreateRequest{Name: "back", Subnets: subnet("10.214.0.0/24")})
	_, err := Open(context.Background(), Options{Root: n.opts.Root, Keeper: h, Firewall: rules(t), Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.214.0.129/25"), Ready: -1})
	if !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "network back has 10.214.0.0/24") {
		t.Errorf("opened, %v", err)
	}
}

// TestRemoveWhileFilling: what is to be kept ready of a network finds its link deleted,
// and would make it again, while the network is removed.
func TestRemoveWhileFilling(t *testing.T) {
	n, _ := openWith(t, Options{})
	made := create(t, n, CreateRequest{Name: "back"})
	a := attach(t, n, "a", "back")
	s := n.named("back")
	p := s.ready
	fill(p)
	begun, proceed := make(chan struct{}), make(chan struct{})
	p.make = func() (*prepared, error) {
		begun <- struct{}{}
		<-proceed
		return n.prepare(s)
	}
	taken, err := p.take()
	if err != nil {
		t.Fatal(err)
	}
	taken.discard()
	<-begun
	a.Close()
	n.Detach("a")
	if err := netlink.DelLink(made.Link); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error)
	go func() { removed <- n.Remove(context.Background(), "back") }()
	eventually.True(t, "the filling is ended", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.closed
	})
	close(proceed)
	select {
	case err := <-removed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("they wait for each other")
	}
	if out, err := exec.Command("ip", "link", "show", made.Link).CombinedOutput(); err == nil {
		t.Errorf("the link has come back: %s", out)
	}
}

// TestLostRecord: the networks' record is damaged while a container runs. It keeps its
// place in the default network, with its ports and the way out; the other network is not
// there any more.
func TestLostRecord(t *testing.T) {
	n, h := openWith(t, Options{Ready: -1})
	create(t, n, CreateRequest{Name: "back"})
	r := on("a", EndpointRequest{})
	r.Endpoints = append(r.Endpoints, EndpointRequest{Network: "back", Names: []string{"a"}})
	r.Publish = []PortRequest{{Proto: "tcp", Container: 80, First: 8080, Last: 8080}}
	a := attachTo(t, n, r)
	former := a.Ports[0].Container.Addr() // that of the other network, by which it leaves
	if err := os.WriteFile(n.path(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := reopened(t, n, h, a)
	s := next.Sandbox("a")
	if len(s.Endpoints) != 1 || s.Endpoints[0].Address != a.Endpoint.Address || s.Endpoints[0].NetworkID != next.List()[0].ID {
		t.Fatalf("it has %+v", s.Endpoints)
	}
	at := a.Endpoint.Address.Addr()
	if len(s.Ports) != len(a.Ports) || former == at || s.Ports[0].Container.Addr() != at || len(h.ports("a")) != len(a.Ports) || h.holds["a"].Resolver != nil {
		t.Errorf("its ports were %v, are %v, held are %v", a.Ports, s.Ports, h.ports("a"))
	}
	if got := run(t, a.NetNS, "ip", "route", "show", "default"); !strings.Contains(got, "via 10.213.0.1 ") {
		t.Errorf("it leaves by %s", got)
	}
	serve(t, a.NetNS)
	if got, err := ask(nil, at); err != nil {
		t.Errorf("it is not reached any more: %q, %v", got, err)
	}
	if b := attach(t, next, "b", "bridge"); b.Endpoint.Address == a.Endpoint.Address {
		t.Errorf("%s is given to two", b.Endpoint.Address)
	}
}
