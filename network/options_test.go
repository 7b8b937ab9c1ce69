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

	"hoy/lib/fault"
	"hoy/linux/netlink"
)

// run runs a program in the namespace and returns what it says.
func run(t *testing.T, ns *os.File, args ...string) string {
	t.Helper()
	var out []byte
	err := netlink.In(ns, func() (err error) {
		out, err = exec.Command(args[0], args[1:]...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Errorf("%v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func sysctl(t *testing.T, ns *os.File, name string) string {
	t.Helper()
	return run(t, ns, "cat", "/proc/sys/"+name)
}

var yes, no = true, false

// serveHere is serve in the test's own namespace, the host's.
func serveHere(t *testing.T) {
	t.Helper()
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	serve(t, ns)
}

// reaches fails the test if the container does not reach an address.
func reaches(t *testing.T, from place, to netip.Addr) {
	t.Helper()
	want := from.Endpoint.Address.Addr()
	if to.Is6() {
		want = from.Endpoint.Address6.Addr()
	}
	if got, err := ask(from.NetNS, to); err != nil || got != want.String() {
		t.Errorf("%s to %s: it saw %q, %v", want, to, got, err)
	}
}

func TestDualStack(t *testing.T) {
	n, _ := openWith(t, Options{EngineID: "test"})
	net6 := create(t, n, CreateRequest{Name: "six", IPv6: &yes})
	if len(net6.Subnets) != 2 || !strings.HasPrefix(net6.Subnets[1].Prefix.String(), "fd81:884c:7d65:") || net6.Subnets[1].Prefix.Bits() != 64 {
		t.Errorf("subnets: %v", net6.Subnets)
	}
	a, b := attach(t, n, "a", "six"), attach(t, n, "b", "six")
	serveHere(t)
	serve(t, b.NetNS)
	for _, p := range []place{a, b} {
		reaches(t, p, net6.Subnets[1].Gateway)
		if got := sysctl(t, p.NetNS, "net/ipv6/conf/eth0/accept_ra"); got != "0" {
			t.Errorf("accept_ra is %s", got)
		}
	}
	reaches(t, a, b.Endpoint.Address6.Addr())
	if got := run(t, a.NetNS, "ip", "-6", "route", "show", "default"); !strings.HasPrefix(got, "default via "+net6.Subnets[1].Gateway.String()+" dev eth0") {
		t.Errorf("default route: %s", got)
	}
	// Without IPv6 nothing announces itself.
	c := attach(t, n, "c", "bridge")
	if got := run(t, c.NetNS, "ip", "-6", "address", "show", "dev", "eth0"); got != "" {
		t.Errorf("IPv6 addresses on an IPv4 network: %s", got)
	}
	if got := run(t, c.NetNS, "ip", "-6", "-brief", "address", "show", "dev", "lo"); !strings.Contains(got, "::1/128") {
		t.Errorf("loopback: %s", got)
	}
}

func TestIPv6Only(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "six", IPv4: &no, IPv6: &yes, Subnets: []Subnet{{Prefix: netip.MustParsePrefix("fd00:1:2:3::/64")}}})
	a := attach(t, n, "a", "six")
	if a.Endpoint.Address.IsValid() || a.Endpoint.Address6.Addr().String() != "fd00:1:2:3::2" {
		t.Errorf("addresses: %v", a.Endpoint)
	}
	serveHere(t)
	reaches(t, a, netip.MustParseAddr("fd00:1:2:3::1"))
}

func TestInternal(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "inside", Internal: true, IPv6: &yes})
	a := attach(t, n, "a", "inside")
	if got := run(t, a.NetNS, "ip", "route", "show", "default") + run(t, a.NetNS, "ip", "-6", "route", "show", "default"); got != "" {
		t.Errorf("default routes: %s", got)
	}
}

func TestMTU(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "jumbo", Options: map[string]string{"com.docker.network.driver.mtu": "1234", "com.docker.network.bridge.name": "hoyjumbo", "com.docker.network.container_iface_prefix": "net"}})
	a := attach(t, n, "a", "jumbo")
	link, err := net.InterfaceByName("hoyjumbo")
	if err != nil || link.MTU != 1234 {
		t.Errorf("bridge: %v, %v", link, err)
	}
	if got := run(t, a.NetNS, "ip", "link", "show", "dev", "net0"); !strings.Contains(got, "mtu 1234") {
		t.Errorf("link: %s", got)
	}
}

func TestGatewayPriority(t *testing.T) {
	n, _ := openWith(t, Options{})
	for _, name := range []string{"alpha", "beta"} {
		create(t, n, CreateRequest{Name: name})
	}
	for _, tc := range []struct {
		alpha, beta int
		want        string
	}{{0, 0, "alpha"}, {0, 1, "beta"}, {2, 1, "alpha"}} {
		r := AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "beta", Priority: tc.beta}, {Network: "alpha", Priority: tc.alpha}}}
		s, err := n.Attach(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(s.Endpoints, func(e Endpoint) bool { return e.Network == tc.want })
		if got := run(t, s.NetNS, "ip", "route", "show", "default"); !strings.HasPrefix(got, "default via "+s.Endpoints[i].Gateway.String()+" dev "+s.Endpoints[i].Interface) {
			t.Errorf("priorities %d and %d: %s", tc.alpha, tc.beta, got)
		}
		s.Close()
		n.Detach("a")
	}
}

func TestEndpointOptions(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "six", IPv6: &yes})
	a := attachTo(t, n, AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{
		Network: "six", LinkLocal: []netip.Addr{netip.MustParseAddr("169.254.7.7")},
		Options: map[string]string{ifnameOption: "wan0", sysctlsOption: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.hop_limit=7"},
	}}})
	if got := sysctl(t, a.NetNS, "net/ipv4/conf/wan0/log_martians") + sysctl(t, a.NetNS, "net/ipv6/conf/wan0/hop_limit"); got != "17" {
		t.Errorf("sysctls: %s", got)
	}
	if got := run(t, a.NetNS, "ip", "-brief", "address", "show", "dev", "wan0"); !strings.Contains(got, "169.254.7.7/16") {
		t.Errorf("addresses: %s", got)
	}
	for _, bad := range []map[string]string{{ifnameOption: "a/b"}, {ifnameOption: strings.Repeat("x", 16)}, {sysctlsOption: "net.ipv4.conf.eth0.log_martians=1"}, {sysctlsOption: "net.ipv4.conf.IFNAME.../../x=1"}, {sysctlsOption: "kernel.x.y.IFNAME.z=1"}} {
		if _, err := CheckEndpointOptions(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", bad, err)
		}
		_, err := n.Attach(context.Background(), AttachRequest{ContainerID: "b", Endpoints: []EndpointRequest{{Network: "six", Options: bad}}})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("attached with %v: %v", bad, err)
		}
	}
	if w, err := CheckEndpointOptions(map[string]string{"color": "red"}); err != nil || len(w) != 1 {
		t.Errorf("an unknown option: %v, %v", w, err)
	}
	if _, err := n.Connect(context.Background(), "a", a.NetNS, EndpointRequest{Network: "bridge", Options: map[string]string{ifnameOption: "wan0"}}); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("two links of one name: %v", err)
	}
}

// TestMacvlan has two containers beside a link of the host's, and one beyond it.
func TestMacvlan(t *testing.T) {
	n, _ := openWith(t, Options{})
	if !netlink.Supports(netlink.Macvlan) {
		lacking(t, "macvlan links")
	}
	farHost(t)
	create(t, n, lanOf("macvlan", "hoyfar0"))
	a, b := attach(t, n, "a", "lan"), attach(t, n, "b", "lan")
	serve(t, b.NetNS)
	reaches(t, a, b.Endpoint.Address.Addr())
	reaches(t, a, netip.MustParseAddr("192.0.2.1"))
	if got := a.Endpoint.Address.String(); got != "192.0.2.64/24" {
		t.Errorf("address %s, want the first of the range", got)
	}
	if got := run(t, a.NetNS, "ip", "route", "show", "default"); !strings.HasPrefix(got, "default via 192.0.2.1") {
		t.Errorf("default route: %s", got)
	}
	// Ports of the host do not lead there; a container can come and go.
	s, err := n.Connect(context.Background(), "a", a.NetNS, EndpointRequest{Network: "bridge"})
	if err != nil || s.Endpoints[1].Interface != "eth1" {
		t.Fatalf("connect: %+v, %v", s, err)
	}
	if _, err = n.Disconnect(context.Background(), "a", a.NetNS, "lan"); err != nil {
		t.Fatal(err)
	}
	if got := run(t, a.NetNS, "ip", "route", "show", "default"); !strings.HasPrefix(got, "default via 10.213.0.1 dev eth1") {
		t.Errorf("default route: %s", got)
	}
	for _, bad := range []CreateRequest{
		{Name: "p", Driver: "macvlan", Options: map[string]string{"parent": "hoyfar0", "macvlan_mode": "passthru"}},
		{Name: "i", Driver: "ipvlan", Options: map[string]string{"parent": "hoyfar0"}},
		{Name: "m", Driver: "macvlan", Options: map[string]string{"parent": "hoyfar0", "macvlan_mode": "tunnel"}},
		{Name: "l", Driver: "macvlan", Options: map[string]string{"parent": "lo"}},
		{Name: "n", Driver: "macvlan", Options: map[string]string{"parent": "nowhere0"}},
		{Name: "v", Driver: "macvlan", Options: map[string]string{"parent": "hoyfar0.4095"}},
	} {
		if net, _, err := n.Create(context.Background(), bad); err == nil {
			t.Errorf("made %+v", net)
		} else {
			t.Logf("%s: %v", bad.Name, err)
		}
	}
}

func TestReach(t *testing.T) {
	n, _ := openWith(t, Options{NoICC: true})
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		lacking(t, "br_netfilter")
	}
	a, b := attach(t, n, "a", "bridge"), attach(t, n, "b", "bridge")
	serve(t, a.NetNS)
	if got, err := ask(b.NetNS, a.Endpoint.Address.Addr()); err == nil {
		t.Errorf("a container was reached without a link: %s", got)
	}
	c := attachTo(t, n, on("c", EndpointRequest{Reach: []Reach{{"a", "tcp", 80}}}))
	if got, err := ask(c.NetNS, a.Endpoint.Address.Addr()); err != nil {
		t.Errorf("a linked container is not reached: %q, %v", got, err)
	}
}
