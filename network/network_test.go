package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/linux/netlink"
	"hoy/network/firewall"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// modes are the two ways to own a network namespace; every test runs in both.
var modes = map[string]*idmap.Map{
	"host user": nil,
	"user namespace": {
		UIDs: []idmap.Range{{Inside: 0, Outside: 100000, Size: 65536}},
		GIDs: []idmap.Range{{Inside: 0, Outside: 100000, Size: 65536}},
	},
}

func start(t *testing.T, n *Networks) {
	t.Helper()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
}

// rules is the real firewall.
func rules(t *testing.T) *firewall.Firewall {
	t.Helper()
	f, err := firewall.Open(firewall.Options{Table: "hoy-hoytest0"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func open(t *testing.T, root string, m *idmap.Map) *Networks {
	t.Helper()
	n, err := Open(context.Background(), Options{Root: root, Firewall: rules(t), Keeper: newHolder(), Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.213.0.1/24"), UserMap: m, Ready: 2})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eachMode runs f in both user modes with networks that are closed afterwards.
func eachMode(t *testing.T, f func(t *testing.T, n *Networks)) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			n := open(t, t.TempDir(), m)
			start(t, n)
			t.Cleanup(func() { // after the containers are detached
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, n)
		})
	}
}

// place is a container's only place in a network, with the namespaces.
type place struct {
	Endpoint
	*Sandbox
}

// attach attaches a container to the networks.
func attach(t *testing.T, n *Networks, id string, networks ...string) place {
	t.Helper()
	r := AttachRequest{ContainerID: id}
	for _, name := range networks {
		r.Endpoints = append(r.Endpoints, EndpointRequest{Network: name, Names: []string{id}})
	}
	return attachTo(t, n, r)
}

func attachTo(t *testing.T, n *Networks, r AttachRequest) place {
	t.Helper()
	s, err := n.Attach(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); n.Detach(r.ContainerID) })
	return place{s.Endpoints[0], s}
}

// on asks for an endpoint of the default network.
func on(id string, e EndpointRequest) AttachRequest {
	e.Network = "bridge"
	return AttachRequest{ContainerID: id, Endpoints: []EndpointRequest{e}}
}

// serve answers every connection to port 80 in the namespace with its peer's address.
func serve(t *testing.T, ns *os.File) {
	t.Helper()
	var l net.Listener
	if err := netlink.In(ns, func() (err error) { l, err = net.Listen("tcp", ":80"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			io.WriteString(c, host)
			c.Close()
		}
	}()
}

// ask connects to port 80 of addr from the namespace (nil: the test's own).
func ask(ns *os.File, addr netip.Addr) (string, error) {
	var c net.Conn
	dial := func() (err error) {
		c, err = net.DialTimeout("tcp", netip.AddrPortFrom(addr, 80).String(), 2*time.Second)
		return err
	}
	err := error(nil)
	if ns == nil {
		err = dial()
	} else {
		// Dial in one go on the thread: the resolver and happy eyeballs are not used for addresses.
		err = netlink.In(ns, dial)
	}
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestContainersReachEachOtherAndTheHost(t *testing.T) {
	eachMode(t, func(t *testing.T, n *Networks) {
		a := attach(t, n, "a", "bridge")
		b := attach(t, n, "b", "bridge")
		serve(t, a.NetNS)
		for from, ns := range map[string]*os.File{b.Address.Addr().String(): b.NetNS, "10.213.0.1": nil} {
			if got, err := ask(ns, a.Address.Addr()); err != nil || got != from {
				t.Errorf("asked from %s: saw %q, %v", from, got, err)
			}
		}
	})
}

// TestOutwards has a machine on another link: containers reach it with the host's
// address, and it does not reach them.
func TestOutwards(t *testing.T) {
	eachMode(t, func(t *testing.T, n *Networks) {
		far, err := netlink.NewNamespace()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		v := netlink.Link{Kind: netlink.Veth, Host: "hoyfar0", Name: "eth0", Namespace: far, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}, Gateway: netip.MustParseAddr("192.0.2.1")}
		if err := v.Add(); err != nil {
			t.Fatal(err)
		}
		defer netlink.DelLink("hoyfar0")
		if out, err := exec.Command("ip", "addr", "add", "192.0.2.1/24", "dev", "hoyfar0").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		serve(t, far)
		c := attach(t, n, "c", "bridge")
		serve(t, c.NetNS)
		if got, err := ask(c.NetNS, netip.MustParseAddr("192.0.2.2")); err != nil || got != "192.0.2.1" {
			t.Errorf("from the container outwards: the peer saw %q, %v; want the host's address", got, err)
		}
		if got, err := ask(far, c.Address.Addr()); err == nil {
			t.Errorf("from outside the container was reached: %q", got)
		}
	})
}

func TestNoneHasOnlyLoopback(t *testing.T) {
	eachMode(t, func(t *testing.T, n *Networks) {
		e := attachTo(t, n, AttachRequest{ContainerID: "a", Mode: "none"})
		var names []string
		if err := netlink.In(e.NetNS, func() error {
			is, err := net.Interfaces()
			for _, i := range is {
				if i.Flags&net.FlagUp != 0 {
					names = append(names, i.Name)
				}
			}
			return err
		}); err != nil || strings.Join(names, " ") != "lo" {
			t.Errorf("links up: %q, %v", names, err)
		}
	})
}

func TestNamespacesBelongTogether(t *testing.T) {
	rootful.Check(t)
	n := open(t, t.TempDir(), modes["user namespace"])
	t.Cleanup(func() { n.Close() })
	for name, r := range map[string]AttachRequest{"bridge": on("bridge", EndpointRequest{}), "none": {ContainerID: "none", Mode: "none"}} {
		e := attachTo(t, n, r)
		owner, err := unix.IoctlRetInt(int(e.NetNS.Fd()), unix.NS_GET_USERNS)
		if err != nil {
			t.Fatal(err)
		}
		var want, got unix.Stat_t
		unix.Fstat(int(e.UserNS.Fd()), &want)
		unix.Fstat(owner, &got)
		unix.Close(owner)
		if want.Ino != got.Ino {
			t.Errorf("%s: the network namespace belongs to another user namespace", name)
		}
	}
}

func TestRequestedAddressAndMAC(t *testing.T) {
	eachMode(t, func(t *testing.T, n *Networks) {
		want := netip.MustParseAddr("10.213.0.77")
		mac := net.HardwareAddr{2, 1, 2, 3, 4, 5}
		e := attachTo(t, n, on("a", EndpointRequest{IPv4: want, MAC: mac}))
		if e.Endpoint.Address.Addr() != want || e.MAC.String() != mac.String() {
			t.Errorf("got %s %s", e.Address, e.MAC)
		}
		if _, err := n.Attach(context.Background(), on("b", EndpointRequest{IPv4: want})); !fault.Is(err, fault.Forbidden) {
			t.Errorf("the same address twice: %v", err)
		}
	})
}

// TestBridgeKeepsItsLinkAddress whatever ports come and go: containers remember it, and
// what they send to another one is lost.
func TestBridgeKeepsItsLinkAddress(t *testing.T) {
	eachMode(t, func(t *testing.T, n *Networks) {
		for i := range 20 {
			id := strconv.Itoa(i)
			e, err := n.Attach(context.Background(), on(id, EndpointRequest{}))
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				e.Close()
				n.Detach(id)
			} else {
				t.Cleanup(func() { e.Close(); n.Detach(id) })
			}
			l, err := net.InterfaceByName("hoytest0")
			if err != nil || l.HardwareAddr.String() != "02:42:0a:d5:00:01" {
				t.Fatalf("after %d containers: %v, %v", i+1, l, err)
			}
		}
	})
}

func TestAttachTwiceIsRefused(t *testing.T) {
	eachMode(t, func(t *testing.T, n *Networks) {
		attach(t, n, "a", "bridge")
		if _, err := n.Attach(context.Background(), on("a", EndpointRequest{})); !fault.Is(err, fault.Conflict) {
			t.Errorf("attached twice: %v", err)
		}
		if _, err := n.Attach(context.Background(), AttachRequest{ContainerID: "x", Endpoints: []EndpointRequest{{Network: "nowhere"}}}); !fault.Is(err, fault.NotFound) {
			t.Errorf("unknown network: %v", err)
		}
	})
}

// TestNextEngine opens the networks again while a container runs on: the bridge,
// its rules and the address stay, and the address is not given to anybody else.
func TestNextEngine(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	n := open(t, root, nil)
	start(t, n)
	e, err := n.Attach(context.Background(), on("a", EndpointRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	serve(t, e.NetNS)
	ids := n.List()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, root, nil)
	if err := n.Adopt(*e); err != nil {
		t.Fatal(err)
	}
	start(t, n)
	if n.List()[0].ID != ids[0].ID {
		t.Error("the network has another id")
	}
	if _, err := n.Attach(context.Background(), on("b", EndpointRequest{IPv4: e.Endpoints[0].Address.Addr()})); !fault.Is(err, fault.Forbidden) {
		t.Errorf("an adopted address was given again: %v", err)
	}
	if got, err := ask(nil, e.Endpoints[0].Address.Addr()); err != nil {
		t.Errorf("the container is not reached any more: %q, %v", got, err)
	}
	n.Detach("a")
	// The engine that made the bridge is gone: this one takes it away.
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if c, _ := nftables.New(); c != nil {
		if ts, _ := c.ListTables(); len(ts) > 0 {
			t.Errorf("tables left: %v", ts)
		}
	}
}

func TestFullSubnet(t *testing.T) {
	rootful.Check(t)
	n, err := Open(context.Background(), Options{Root: t.TempDir(), Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.213.0.1/29")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	for i := range 5 {
		attach(t, n, fmt.Sprint(i), "bridge")
	}
	if _, err := n.Attach(context.Background(), on("x", EndpointRequest{})); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the sixth of five addresses: %v", err)
	}
}
