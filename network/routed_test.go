package network

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"hoy/network/firewall"
)

// withModes asks for a network with IPv6 and these gateway modes.
func withModes(name, mode4, mode6 string) CreateRequest {
	return CreateRequest{Name: name, IPv6: &yes, Options: map[string]string{
		"com.docker.network.bridge.gateway_mode_ipv4": mode4, "com.docker.network.bridge.gateway_mode_ipv6": mode6,
	}}
}

// shown writes ports as "0.0.0.0:8080>back4": host, network, and kind of the container's address.
func shown(n *Networks, ports []firewall.Port) (l []string) {
	for _, p := range ports {
		kind := 6
		if p.Container.Addr().Is4() {
			kind = 4
		}
		for _, net := range n.List() {
			if net.Link == p.Link {
				l = append(l, fmt.Sprintf("%s>%s%d", p.Host, net.Name, kind))
			}
		}
	}
	return l
}

// TestRoutedPorts: a port of a routed network takes none of the host, for each kind of
// address by itself, and is open on every routed network of the container.
func TestRoutedPorts(t *testing.T) {
	n, h := openWith(t, Options{})
	create(t, n, withModes("back", "nat", "nat"))
	create(t, n, withModes("back4", "routed", "nat"))
	create(t, n, withModes("back6", "nat", "routed"))
	create(t, n, withModes("open", "routed", "routed"))
	local := withModes("local", "routed", "nat")
	local.Options["com.docker.network.bridge.host_binding_ipv4"] = "127.0.0.1"
	create(t, n, local)
	single := withModes("single", "routed", "routed")
	single.IPv6 = &no
	create(t, n, single)
	every, here := netip.Addr{}, netip.MustParseAddr("127.0.0.1")
	for _, tc := range []struct {
		networks []string
		at       netip.Addr
		want     []string
	}{
		{[]string{"back"}, every, []string{"0.0.0.0:8080>back4", "[::]:8080>back6"}},
		{[]string{"back6"}, every, []string{"0.0.0.0:8080>back64", "[::]:0>back66"}},
		{[]string{"back4"}, every, []string{"[::]:8080>back46", "0.0.0.0:0>back44"}},
		{[]string{"open"}, every, []string{"0.0.0.0:0>open4", "[::]:0>open6"}},
		{[]string{"open"}, here, []string{"0.0.0.0:0>open4"}},
		{[]string{"back4"}, here, []string{"0.0.0.0:0>back44"}},
		{[]string{"back6"}, here, []string{"127.0.0.1:8080>back64"}},
		{[]string{"local"}, every, []string{"0.0.0.0:0>local4"}},
		{[]string{"single"}, every, []string{"0.0.0.0:0>single4"}},
		{[]string{"back", "open"}, every, []string{"0.0.0.0:8080>back4", "[::]:8080>back6", "0.0.0.0:0>open4", "[::]:0>open6"}},
		{[]string{"open", "back"}, every, []string{"0.0.0.0:0>open4", "[::]:0>open6"}},
	} {
		r := AttachRequest{ContainerID: "a", Publish: []PortRequest{{Proto: "tcp", Container: 80, HostIP: tc.at, First: 8080, Last: 8080}}}
		for i, name := range tc.networks {
			r.Endpoints = append(r.Endpoints, EndpointRequest{Network: name, Priority: -i})
		}
		s, err := n.Attach(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(n, s.Ports); !slices.Equal(got, tc.want) {
			t.Errorf("%v at %v: published %v, want %v", tc.networks, tc.at, got, tc.want)
		}
		if held, want := len(h.ports("a")), len(onHost(s.Ports)); held != want {
			t.Errorf("%v: the keeper holds %d of %d", tc.networks, held, want)
		}
		s.Close()
		n.Detach("a")
	}
}

// TestRoutedLife opens and closes a port of routed networks as its container connects,
// publishes more, and meets another engine and another keeper.
func TestRoutedLife(t *testing.T) {
	root := t.TempDir()
	n, h := openWith(t, Options{Root: root})
	create(t, n, withModes("back", "nat", "nat"))
	create(t, n, withModes("open", "routed", "routed"))
	ctx := context.Background()
	s, err := n.Attach(ctx, AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "back", Priority: 1}}, Publish: []PortRequest{{Proto: "tcp", Container: 80, First: 8080, Last: 8080}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	netns := func(string) (*os.File, error) { return os.Open(fmt.Sprintf("/proc/self/fd/%d", s.NetNS.Fd())) }
	nat, open := []string{"0.0.0.0:8080>back4", "[::]:8080>back6"}, []string{"0.0.0.0:0>open4", "[::]:0>open6"}
	expect := func(when string, want ...string) {
		t.Helper()
		if got := shown(n, n.Sandbox("a").Ports); !slices.Equal(got, want) {
			t.Errorf("%s: published %v, want %v", when, got, want)
		}
		if got, want := len(h.ports("a")), len(onHost(n.Sandbox("a").Ports)); got != want {
			t.Errorf("%s: the keeper holds %d ports, not %d", when, got, want)
		}
		if got := len(n.firewall.(*firewall.Firewall).Ports()); got != len(want) {
			t.Errorf("%s: the firewall knows %d ports, not %d", when, got, len(want))
		}
	}
	do := func(_ *Sandbox, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(n.Connect(ctx, "a", s.NetNS, EndpointRequest{Network: "open"}))
	expect("connected", append(slices.Clone(nat), open...)...)
	more := []PortRequest{{Proto: "udp", Container: 53, First: 5353, Last: 5353}}
	do(n.Publish(ctx, "a", more, nil))
	expect("published", append(append(slices.Clone(nat), open...), "0.0.0.0:5353>back4", "[::]:5353>back6", "0.0.0.0:0>open4", "[::]:0>open6")...)
	do(n.Publish(ctx, "a", nil, more))
	expect("taken back", append(slices.Clone(nat), open...)...)
	h.die()
	if err := n.Rehold(ctx, netns); err != nil {
		t.Fatal(err)
	}
	expect("another keeper", append(slices.Clone(nat), open...)...)
	next, err := Open(ctx, Options{Root: root, Keeper: h, Firewall: rules(t), Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.213.0.1/24"), Ready: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Adopt(*n.Sandbox("a")); err != nil {
		t.Fatal(err)
	}
	next.Settle(ctx, netns)
	start(t, next)
	before := n
	n = next
	expect("another engine", append(slices.Clone(nat), open...)...)
	do(n.Disconnect(ctx, "a", s.NetNS, "back"))
	expect("disconnected", open...)
	if err := listenEverywhere(8080); err != nil {
		t.Errorf("a routed port keeps one of the host: %v", err)
	}
	n.Detach("a")
	before.Detach("a") // the engine that clears up must know
}
