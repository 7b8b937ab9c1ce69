package container

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
	"hoy/network"
	"hoy/network/firewall"
)

// namedNetworks are networks by id; that is all that is asked of them here.
type namedNetworks struct {
	Networks
	names map[string]string
}

func (n namedNetworks) Get(ref string) (*network.Network, error) {
	for id, name := range n.names {
		if ref == id || ref == name {
			return &network.Network{Name: name, ID: id, Driver: "bridge"}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "network %s not found", ref)
}

func networked(records ...*record) *Containers {
	c := &Containers{index: newIndex()}
	c.o.Networks = namedNetworks{names: map[string]string{"1d": "front", "2d": "back", "3d": "bridge"}}
	c.o.HostGateway = netip.MustParseAddr("172.17.0.1")
	for _, r := range records {
		c.index.reserve(r.Name, r.ID)
		c.index.add(newContainer(r))
	}
	return c
}

const webID = "abcdef0123456789"

func web() *record {
	return &record{ID: webID, Name: "web", Config: &apicontainer.Config{Hostname: "www"}, Host: &apicontainer.HostConfig{}}
}

// TestAttachRequest has everything that was asked of networks arrive at them, the first
// network first.
func TestAttachRequest(t *testing.T) {
	addr := netip.MustParseAddr
	r, db := web(), &record{ID: "db0123456789", Name: "database", Config: &apicontainer.Config{}, Host: &apicontainer.HostConfig{}}
	c := networked(r, db)
	r.Host.NetworkMode, r.Host.DNS = "1d", []netip.Addr{addr("192.0.2.53")}
	asked := &apinetwork.EndpointSettings{
		IPAMConfig: &apinetwork.EndpointIPAMConfig{IPv4Address: addr("10.0.0.9"), IPv6Address: addr("fd00::9"), LinkLocalIPs: []netip.Addr{addr("169.254.0.9")}},
		Links:      []string{"db0123456789:db"}, Aliases: []string{"shop", "web"}, DriverOpts: map[string]string{"o": "v"}, GwPriority: 7,
		MacAddress: apinetwork.HardwareAddr{2, 0, 0, 0, 0, 9},
	}
	r.Endpoints = c.endpointsFor(r.Host.NetworkMode, map[string]*apinetwork.EndpointSettings{"1d": asked, "back": nil})
	got, err := c.attachRequest(r, 4)
	if err != nil {
		t.Fatal(err)
	}
	want := network.AttachRequest{ContainerID: webID, Name: "web", Generation: 4, Endpoints: []network.EndpointRequest{{
		Network: "front", IPv4: addr("10.0.0.9"), IPv6: addr("fd00::9"), LinkLocal: []netip.Addr{addr("169.254.0.9")}, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9},
		Names: []string{"web", "shop", "abcdef012345", "www"}, Links: map[string]string{"db": "database"}, Priority: 7, Options: map[string]string{"o": "v"},
	}, {
		Network: "back", Names: []string{"web", "abcdef012345", "www"},
	}}, Resolver: network.ResolverRequest{Servers: []netip.Addr{addr("192.0.2.53")}, Hosts: map[string]netip.Addr{"host.docker.internal": addr("172.17.0.1")}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestAttachRequestModes(t *testing.T) {
	for mode, want := range map[string]struct{ mode, networks string }{
		"host": {"host", ""}, "none": {"none", ""}, "bridge": {"", "bridge"}, "back": {"", "back"}, "nowhere": {"", "nowhere"},
	} {
		r := web()
		c := networked(r)
		r.Host.NetworkMode = apicontainer.NetworkMode(mode)
		r.Endpoints = c.endpointsFor(r.Host.NetworkMode, nil)
		a, err := c.attachRequest(r, 1)
		var names []string
		for _, e := range a.Endpoints {
			names = append(names, e.Network)
		}
		if err != nil || a.Mode != want.mode || strings.Join(names, " ") != want.networks {
			t.Errorf("%s: mode %q, networks %v, %v", mode, a.Mode, names, err)
		}
	}
}

func TestNetworksAlone(t *testing.T) {
	for _, tc := range []struct{ mode, other, says string }{
		{"host", "back", "cannot be connected to any other network"},
		{"back", "host", "cannot be connected to any other network"},
		{"none", "back", "private (none) mode"},
		{"back", "none", "private (none) mode"},
	} {
		r := web()
		c := networked(r)
		r.Host.NetworkMode = apicontainer.NetworkMode(tc.mode)
		r.Endpoints = map[string]*apinetwork.EndpointSettings{tc.mode: {}, tc.other: {}}
		if _, err := c.attachRequest(r, 1); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s and %s: %v", tc.mode, tc.other, err)
		}
	}
}

func TestPortRequests(t *testing.T) {
	port := apinetwork.MustParsePort
	r := web()
	r.Config.ExposedPorts = apinetwork.PortSet{port("53/udp"): {}, port("80/tcp"): {}}
	r.Host.PublishAllPorts = true
	r.Host.PortBindings = apinetwork.PortMap{
		port("80/tcp"):    {{HostPort: "8000-8010"}, {HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "80"}, {HostIP: netip.MustParseAddr("::ffff:127.0.0.2"), HostPort: "80"}},
		port("9000/sctp"): {{}},
	}
	want := []network.PortRequest{
		{Proto: "tcp", Container: 80, HostIP: netip.MustParseAddr("127.0.0.1"), First: 80, Last: 80},
		{Proto: "tcp", Container: 80, HostIP: netip.MustParseAddr("127.0.0.2"), First: 80, Last: 80},
		{Proto: "tcp", Container: 80, First: 8000, Last: 8010},
		{Proto: "udp", Container: 53},
		{Proto: "sctp", Container: 9000},
	}
	if got := r.portRequests(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestLinkedHosts resolves links of the default network by the address that the other
// container has now.
func TestLinkedHosts(t *testing.T) {
	r := web()
	other := &record{ID: "db0123456789", Name: "database", Config: &apicontainer.Config{Hostname: "h"}, Host: &apicontainer.HostConfig{NetworkMode: "bridge"}}
	c := networked(r, other)
	r.Host.NetworkMode, r.Host.Links = "bridge", []string{"/database:/web/db"}
	if err := c.pinLinks(r.Host); err != nil || r.Host.Links[0] != "db0123456789:db" {
		t.Fatalf("pinned: %v, %v", r.Host.Links, err)
	}
	if _, err := c.linkedHosts(r); err == nil || err.Error() != "Cannot link to a non running container: /database AS /web/db" {
		t.Errorf("not running: %v", err)
	}
	k, _ := c.index.get("database")
	k.update(func(r *record) {
		r.State.Status = apicontainer.StateRunning
		r.State.Running = &running{Sandbox: &network.Sandbox{Endpoints: []network.Endpoint{{Network: "bridge", Address: netip.MustParsePrefix("172.17.0.5/16")}}}}
	})
	hosts, err := c.linkedHosts(r)
	if want := []network.Host{{Address: netip.MustParseAddr("172.17.0.5"), Names: []string{"db", "h", "database"}}}; err != nil || !reflect.DeepEqual(hosts, want) {
		t.Errorf("hosts %v, %v", hosts, err)
	}
	if k, err := c.index.get("/web/db"); err != nil || k.id != other.ID {
		t.Errorf("by its link: %v, %v", k, err)
	}
	if _, err := c.index.get("web/other"); !fault.Is(err, fault.NotFound) {
		t.Errorf("by a link there is not: %v", err)
	}
	if p := c.linkPaths(); len(p) != 1 || !reflect.DeepEqual(p[other.ID], []string{"/web/db"}) {
		t.Errorf("names by links: %v", p)
	}
	if shown := c.shownHost(r).Links; len(shown) != 1 || shown[0] != "/database:/web/db" {
		t.Errorf("shown: %v", shown)
	}
	missing := &apicontainer.HostConfig{NetworkMode: "bridge", Links: []string{"nobody:x"}}
	if err := c.pinLinks(missing); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "could not get container for nobody") {
		t.Errorf("a link to nobody: %v", err)
	}
}

func TestPortMap(t *testing.T) {
	r := web()
	r.State.Status = apicontainer.StateRunning
	r.Config.ExposedPorts = apinetwork.PortSet{apinetwork.MustParsePort("53/udp"): {}}
	r.State.Running = &running{Sandbox: &network.Sandbox{Endpoints: []network.Endpoint{{Network: "bridge", Driver: "bridge"}}}}
	for _, host := range []string{"0.0.0.0:8080", "[::]:8080"} {
		r.State.Running.Sandbox.Ports = append(r.State.Running.Sandbox.Ports, firewall.Port{Proto: "tcp", Host: netip.MustParseAddrPort(host), Container: netip.MustParseAddrPort("172.17.0.5:80")})
	}
	m := r.portMap()
	if b := m[apinetwork.MustParsePort("80/tcp")]; len(b) != 2 || b[0].HostIP.String() != "0.0.0.0" || b[1].HostIP.String() != "::" || b[0].HostPort != "8080" {
		t.Errorf("published: %+v", b)
	}
	if b, shown := m[apinetwork.MustParsePort("53/udp")]; !shown || b != nil {
		t.Errorf("exposed: %v, %v", b, shown)
	}
	l := r.shownPorts()
	if len(l) != 3 || l[0].PrivatePort != 53 || l[1].PublicPort != 8080 || l[2].IP.String() != "::" {
		t.Errorf("ps: %+v", l)
	}
}

// TestHostGateway: an extra host at the host's gateway has both of its addresses.
func TestHostGateway(t *testing.T) {
	r := web()
	r.Host.NetworkMode, r.Host.ExtraHosts = "bridge", []string{"gw:host-gateway", "six:[2001:db8::6]"}
	c := networked(r)
	c.o.HostGateway6 = netip.MustParseAddr("fd00::1")
	got, err := c.extraHosts(r)
	want := []network.Host{
		{Address: c.o.HostGateway, Names: []string{"gw"}}, {Address: c.o.HostGateway6, Names: []string{"gw"}},
		{Address: netip.MustParseAddr("2001:db8::6"), Names: []string{"six"}}, {Address: c.o.HostGateway, Names: []string{hostName}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	c.o.HostGateway, c.o.HostGateway6 = netip.Addr{}, netip.Addr{}
	if _, err := c.extraHosts(r); err == nil || !strings.Contains(err.Error(), "cannot add host gw") {
		t.Errorf("without a gateway: %v", err)
	}
}

// TestNoIPv6: a container that has switched IPv6 off gets no addresses and names of it.
func TestNoIPv6(t *testing.T) {
	r := web()
	r.Host.Sysctls = map[string]string{"net.ipv6.conf.all.disable_ipv6": "1"}
	c := networked(r)
	if !c.endpointRequest(r, "front", &apinetwork.EndpointSettings{}).NoIPv6 {
		t.Error("it would get an IPv6 address")
	}
	if b, err := c.hosts(r, nil); err != nil || strings.Contains(string(b), "::") {
		t.Errorf("%s, %v", b, err)
	}
}
