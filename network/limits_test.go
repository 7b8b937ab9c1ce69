package network

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"hoy/lib/fault"
	"hoy/linux/netlink"
	"hoy/network/ipam"
	"hoy/test/eventually"
)

func subnet(s string) []Subnet { return []Subnet{{Prefix: netip.MustParsePrefix(s)}} }

// TestBadNetworks are refused in one clear line.
func TestBadNetworks(t *testing.T) {
	n, _ := openWith(t, Options{Pools: []ipam.Pool{{Base: netip.MustParsePrefix("10.220.0.0/24"), Size: 24}}})
	create(t, n, CreateRequest{Name: "taken", Subnets: subnet("10.221.0.0/16"), Options: map[string]string{"com.docker.network.bridge.name": "hoytaken"}})
	create(t, n, CreateRequest{Name: "pool"})
	create(t, n, CreateRequest{Name: "settings", ConfigOnly: true, Subnets: subnet("10.222.0.0/24")})
	gateway := func(s, g string) []Subnet {
		return []Subnet{{Prefix: netip.MustParsePrefix(s), Gateway: netip.MustParseAddr(g)}}
	}
	for _, tc := range []struct {
		r    CreateRequest
		kind fault.Kind
		says string
	}{
		{CreateRequest{Name: ""}, fault.Invalid, "invalid name: name is empty"},
		{CreateRequest{Name: "a/b"}, fault.Invalid, "must not contain slashes"},
		{CreateRequest{Name: "host"}, fault.Forbidden, "operation is not permitted on predefined host network "},
		{CreateRequest{Name: "container:x"}, fault.Forbidden, `network name "container:x" is reserved and cannot be created`},
		{CreateRequest{Name: "taken"}, fault.Conflict, "network with name taken already exists"},
		{CreateRequest{Name: "x", Driver: "overlap"}, fault.NotFound, `plugin "overlap" not found`},
		{CreateRequest{Name: "x", Driver: "host"}, fault.Forbidden, `only one instance of "host" network is allowed`},
		{CreateRequest{Name: "x", IPAMDriver: "dhcp"}, fault.NotFound, `plugin "dhcp" not found`},
		{CreateRequest{Name: "x", IPv4: &no}, fault.Invalid, "IPv4 or IPv6 must be enabled"},
		{CreateRequest{Name: "x"}, fault.Invalid, "all predefined address pools have been fully subnetted"},
		{CreateRequest{Name: "x", Subnets: subnet("10.221.7.0/24")}, fault.Forbidden, "invalid pool request: Pool overlaps with other one on this address space"},
		{CreateRequest{Name: "x", Subnets: subnet("10.223.0.1/24")}, fault.Invalid, "invalid subnet 10.223.0.1/24: it should be 10.223.0.0/24"},
		{CreateRequest{Name: "x", Subnets: gateway("10.223.0.0/24", "10.224.0.1")}, fault.Invalid, "invalid gateway 10.224.0.1: parent subnet 10.223.0.0/24 doesn't contain this address"},
		{CreateRequest{Name: "x", Subnets: append(subnet("10.223.0.0/24"), subnet("10.224.0.0/24")...)}, fault.Forbidden, "bridge driver doesn't support multiple subnets"},
		{CreateRequest{Name: "x", IPv6: &yes, Subnets: append(subnet("10.223.0.0/24"), subnet("ff02::/64")...)}, fault.Invalid, "multicast subnet 'ff02::/64' is not allowed"},
		{CreateRequest{Name: "x", Subnets: subnet("10.223.0.0/24"), Options: map[string]string{"com.docker.network.bridge.name": "hoytaken"}}, fault.Forbidden, "networks have same bridge name"},
		{CreateRequest{Name: "x", Subnets: subnet("10.223.0.0/24"), Options: map[string]string{"com.docker.network.bridge.name": "a/b"}}, fault.Invalid, "cannot be the name of a link"},
		{CreateRequest{Name: "x", Subnets: subnet("10.223.0.0/24"), Options: map[string]string{"com.docker.network.driver.mtu": "huge"}}, fault.Invalid, "failed to parse com.docker.network.driver.mtu value: huge"},
		{CreateRequest{Name: "x", Subnets: subnet("10.223.0.0/24"), Options: map[string]string{"com.docker.network.bridge.gateway_mode_ipv4": "magic"}}, fault.Invalid, "unknown gateway mode magic"},
		{CreateRequest{Name: "x", Subnets: subnet("10.223.0.0/24"), Options: map[string]string{"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}, fault.Invalid, "gateway mode 'isolated' can only be used for an internal network"},
		{CreateRequest{Name: "x", ConfigFrom: "nowhere"}, fault.NotFound, `configuration network "nowhere" does not exist`},
		{CreateRequest{Name: "x", ConfigFrom: "settings", Subnets: subnet("10.223.0.0/24")}, fault.Forbidden, "user-specified configurations are not supported"},
		{CreateRequest{Name: "x", ConfigOnly: true, Internal: true}, fault.Forbidden, "configuration network can only contain network specific fields"},
	} {
		net, _, err := n.Create(context.Background(), tc.r)
		if err == nil {
			t.Errorf("made %+v", net)
			n.Remove(context.Background(), net.ID)
			continue
		}
		if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v, want %q", tc.r, err, tc.says)
		}
	}
	_, warnings, err := n.Create(context.Background(), CreateRequest{Name: "warned", Subnets: subnet("10.225.0.0/24"), Options: map[string]string{"color": "red"}})
	if err != nil || len(warnings) != 1 {
		t.Errorf("an unknown option: %v, %v", warnings, err)
	}
	n.Remove(context.Background(), "warned")
	if err := n.Remove(context.Background(), "nowhere"); !fault.Is(err, fault.NotFound) || err.Error() != "network nowhere not found" {
		t.Errorf("a missing network: %v", err)
	}
}

func TestBadEndpoints(t *testing.T) {
	n, h := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "small", Subnets: subnet("10.221.0.0/29")})
	create(t, n, CreateRequest{Name: "settings", ConfigOnly: true})
	a := attachTo(t, n, AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "small", IPv4: netip.MustParseAddr("10.221.0.4")}}})
	for _, tc := range []struct {
		r    EndpointRequest
		kind fault.Kind
		says string
	}{
		{EndpointRequest{Network: "nowhere"}, fault.NotFound, "network nowhere not found"},
		{EndpointRequest{Network: "settings"}, fault.Forbidden, "cannot create endpoint on configuration-only network"},
		{EndpointRequest{Network: "small", IPv4: netip.MustParseAddr("10.221.0.4")}, fault.Forbidden, "Address already in use"},
		{EndpointRequest{Network: "small", IPv4: netip.MustParseAddr("10.221.0.1")}, fault.Forbidden, "Address already in use"},
		{EndpointRequest{Network: "small", IPv4: netip.MustParseAddr("10.99.0.1")}, fault.Invalid, "no configured subnet contains IP address 10.99.0.1"},
		{EndpointRequest{Network: "small", IPv6: netip.MustParseAddr("fd00::1")}, fault.Invalid, "no configured subnet contains IP address fd00::1"},
		{EndpointRequest{Network: "host"}, fault.Invalid, ""},
	} {
		_, err := n.Attach(context.Background(), AttachRequest{ContainerID: "b", Endpoints: []EndpointRequest{tc.r}})
		if fault.KindOf(err) != tc.kind || !strings.Contains(fmt.Sprint(err), tc.says) {
			t.Errorf("%+v: %v, want %q", tc.r, err, tc.says)
		}
	}
	if _, err := n.Connect(context.Background(), "a", a.NetNS, EndpointRequest{Network: "small"}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("connected twice: %v", err)
	}
	if _, err := n.Connect(context.Background(), "nobody", a.NetNS, EndpointRequest{Network: "small"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a container that does not run: %v", err)
	}
	// An address that is kept ready can be had.
	for i := range 4 {
		attach(t, n, fmt.Sprint("c", i), "small")
	}
	if _, err := n.Attach(context.Background(), AttachRequest{ContainerID: "full", Endpoints: []EndpointRequest{{Network: "small"}}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a full network: %v", err)
	}
	if h.holds["b"].ID != "" {
		t.Error("the keeper holds what could not be attached")
	}
}

// TestReadyAddressesCanBeHad asks for what is kept ready.
func TestReadyAddressesCanBeHad(t *testing.T) {
	n, _ := openWith(t, Options{Ready: 8})
	fill(n.named("bridge").ready)
	attachTo(t, n, on("a", EndpointRequest{IPv4: netip.MustParseAddr("10.213.0.5")}))
}

func TestConfigFrom(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "settings", ConfigOnly: true, Subnets: subnet("10.222.0.0/24"), Labels: map[string]string{"a": "b"}, Options: map[string]string{"com.docker.network.driver.mtu": "1300"}})
	made, _, err := n.Create(context.Background(), CreateRequest{Name: "made", ConfigFrom: "settings"})
	if err != nil || made.Subnets[0].Gateway.String() != "10.222.0.1" || made.Labels["a"] != "b" || made.Options["com.docker.network.driver.mtu"] != "1300" || made.Driver != "bridge" {
		t.Fatalf("made %+v, %v", made, err)
	}
	if err := n.Remove(context.Background(), "settings"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a configuration in use was removed: %v", err)
	}
	if err := n.Remove(context.Background(), "made"); err != nil {
		t.Error(err)
	}
}

// TestManyNetworks has more networks than docker's pools, beside a route that came later.
func TestManyNetworks(t *testing.T) {
	n, _ := openWith(t, Options{})
	for i := range 40 {
		create(t, n, CreateRequest{Name: fmt.Sprint("n", i)})
		if i == 5 {
			here, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				t.Fatal(err)
			}
			run(t, here, "ip", "route", "add", "172.24.0.0/14", "dev", "hoytest0")
			here.Close()
		}
	}
	vpn := netip.MustParsePrefix("172.24.0.0/14")
	for _, net := range n.List() {
		for _, s := range net.Subnets {
			if s.Prefix.Overlaps(vpn) {
				t.Errorf("network %s has %s, which the machine routes elsewhere", net.Name, s.Prefix)
			}
		}
	}
	if s := n.named("n39").Subnets[0].Prefix; s.Bits() != 24 {
		t.Errorf("the last network has %s", s)
	}
}

// TestRouteThatCameLater: a network that nobody is on makes way for a VPN.
func TestRouteThatCameLater(t *testing.T) {
	n, _ := openWith(t, Options{})
	chosen := create(t, n, CreateRequest{Name: "chosen"})
	asked := create(t, n, CreateRequest{Name: "asked", Subnets: subnet("172.30.0.0/16")})
	used := create(t, n, CreateRequest{Name: "used"})
	attach(t, n, "u", "used")
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	for _, net := range []*Network{chosen, asked, used} {
		p := net.Subnets[0].Prefix
		run(t, here, "ip", "route", "add", netip.PrefixFrom(p.Addr(), p.Bits()+1).String(), "dev", "hoytest0")
	}
	for _, name := range []string{"chosen", "asked", "used"} {
		attach(t, n, name, name)
	}
	now := func(name string) netip.Prefix { net, _ := n.Get(name); return net.Subnets[0].Prefix }
	if now("chosen") == chosen.Subnets[0].Prefix || now("asked") != asked.Subnets[0].Prefix || now("used") != used.Subnets[0].Prefix {
		t.Errorf("chosen has %s, asked %s, used %s", now("chosen"), now("asked"), now("used"))
	}
	if got, _ := netlink.Addresses(chosen.Link); len(got) != 1 || !now("chosen").Contains(got[0].Addr()) {
		t.Errorf("the bridge has %v, the network %s", got, now("chosen"))
	}
}

// TestRemoveWhileJoining: a network that is removed is not joined, and one that is joined
// is not removed.
func TestRemoveWhileJoining(t *testing.T) {
	n, h := openWith(t, Options{})
	for range 20 {
		create(t, n, CreateRequest{Name: "back"})
		var wg sync.WaitGroup
		var removed, joined error
		var s *Sandbox
		wg.Go(func() { removed = n.Remove(context.Background(), "back") })
		wg.Go(func() {
			s, joined = n.Attach(context.Background(), AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "back"}}})
		})
		wg.Wait()
		switch {
		case removed == nil && fault.Is(joined, fault.NotFound):
		case joined == nil && fault.Is(removed, fault.Forbidden):
			s.Close()
			n.Detach("a")
			if err := n.Remove(context.Background(), "back"); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("removed: %v, joined: %v", removed, joined)
		}
	}
	if !h.empty() {
		t.Errorf("held: %v %v", h.holds, h.names)
	}
}

// TestLeaving: what a container that has ended had can be asked for before it is given back.
func TestLeaving(t *testing.T) {
	n, h := openWith(t, Options{})
	end := func(id string) {
		h.ReleaseNetwork(context.Background(), id, 0) // as the keeper does
		n.Leaving(id)
	}
	create(t, n, CreateRequest{Name: "back"})
	same := on("", EndpointRequest{IPv4: netip.MustParseAddr("10.213.0.77")})
	same.Publish = []PortRequest{{Proto: "tcp", Container: 80, First: 8080, Last: 8080}}
	same.Endpoints = append(same.Endpoints, EndpointRequest{Network: "back"})
	begin := func(id string) (*Sandbox, error) {
		r := same
		r.ContainerID = id
		return n.Attach(context.Background(), r)
	}
	a, err := begin("a")
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	end("a")
	if l := n.Endpoints(a.Endpoints[1].NetworkID); len(l) != 0 {
		t.Errorf("on the network: %v", l)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b, err := begin("b")
		if err != nil {
			t.Error(err)
			return
		}
		b.Close()
		end("b")
	})
	time.Sleep(50 * time.Millisecond) // so that it meets what is taken, most times
	n.Detach("a")
	wg.Wait()
	wg.Go(func() {
		if err := n.Remove(context.Background(), "back"); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(20 * time.Millisecond)
	n.Detach("b")
	wg.Wait()
}

// TestReboot opens the networks where nothing of them is left in the kernel.
func TestReboot(t *testing.T) {
	root := t.TempDir()
	n, _ := openWith(t, Options{Root: root, EngineID: "test"})
	before := create(t, n, CreateRequest{Name: "six", IPv6: &yes, Options: map[string]string{"com.docker.network.bridge.enable_icc": "true"}})
	n.stopReady(n.named("bridge"))
	for _, s := range n.segments {
		if err := n.down(s); err != nil {
			t.Fatal(err)
		}
	}
	if !eventually.Is(func() bool { return len(linkNames()) == 1 }) {
		t.Errorf("links left: %v", linkNames())
	}
	n, err := Open(context.Background(), Options{Root: root, EngineID: "test", Bridge: "hoytest0", Keeper: newHolder(), Firewall: rules(t)})
	if err != nil {
		t.Fatal(err)
	}
	start(t, n)
	defer n.Close()
	after, err := n.Get("six")
	if err != nil || after.ID != before.ID || after.Subnets[1].Prefix != before.Subnets[1].Prefix || !maps.Equal(after.Options, before.Options) {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	if _, err := net.InterfaceByName(before.Link); err != nil {
		t.Errorf("the bridge was not made again: %v", err)
	}
	s, err := n.Attach(context.Background(), AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "six"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.Detach("a")
}

func TestRehold(t *testing.T) {
	n, h := openWith(t, Options{})
	back := create(t, n, CreateRequest{Name: "back"})
	a := attachTo(t, n, AttachRequest{ContainerID: "a", Endpoints: []EndpointRequest{{Network: "back", Names: []string{"a"}}}, Publish: []PortRequest{{Proto: "tcp", Container: 80}}})
	before := h.ports("a")
	for _, die := range []func(){h.die, func() {}} { // the second time it has all already
		die()
		if err := n.Rehold(context.Background(), func(string) (*os.File, error) { return dup(a.NetNS), nil }); err != nil {
			t.Fatal(err)
		}
		if got := h.ports("a"); fmt.Sprint(got) != fmt.Sprint(before) || h.holds["a"].Resolver == nil || len(h.namesOf(back.ID)) != 1 {
			t.Errorf("held before %v, after %v; names %v", before, got, h.namesOf(back.ID))
		}
	}
	if open, err := hasResolver(a.NetNS); err != nil || !open {
		t.Errorf("no resolver: %v", err)
	}
}

// TestHundreds has 500 containers on one network, which reach each other.
func TestHundreds(t *testing.T) {
	if testing.Short() {
		t.Skip("500 namespaces take a while")
	}
	n, h := openWith(t, Options{})
	back := create(t, n, CreateRequest{Name: "back"})
	var all []place
	for i := range 500 {
		all = append(all, attach(t, n, fmt.Sprint("c", i), "back"))
	}
	serve(t, all[0].NetNS)
	reaches(t, all[499], all[0].Endpoint.Address.Addr())
	if got := len(h.namesOf(back.ID)); got != 500 {
		t.Errorf("%d names", got)
	}
	seen := map[netip.Addr]bool{}
	for _, p := range all {
		seen[p.Endpoint.Address.Addr()] = true
	}
	if len(seen) != 500 {
		t.Errorf("%d addresses", len(seen))
	}
}

// TestNeighboursLearn gives a known address to a container with another link address.
func TestNeighboursLearn(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "six", IPv6: &yes, Subnets: append(subnet("10.221.0.0/24"), subnet("fd00:7::/64")...)})
	a := attach(t, n, "a", "six")
	for i, mac := range []string{"02:00:00:00:00:01", "02:00:00:00:00:02"} {
		hw, _ := net.ParseMAC(mac)
		r := EndpointRequest{Network: "six", IPv4: netip.MustParseAddr("10.221.0.99"), IPv6: netip.MustParseAddr("fd00:7::99"), MAC: hw}
		s, err := n.Attach(context.Background(), AttachRequest{ContainerID: "b", Endpoints: []EndpointRequest{r}})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 { // a learns both
			serve(t, s.NetNS)
			reaches(t, a, r.IPv4)
			reaches(t, a, r.IPv6)
		}
		for _, addr := range []netip.Addr{r.IPv4, r.IPv6} {
			if !eventually.Is(func() bool { return strings.Contains(run(t, a.NetNS, "ip", "neigh", "show", addr.String()), mac) }) {
				t.Errorf("%s is at %s: %s", addr, mac, run(t, a.NetNS, "ip", "neigh", "show", addr.String()))
			}
		}
		s.Close()
		n.Detach("b")
	}
}
