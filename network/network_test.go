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

func open(t *testing.T, root string, m *idmap.Map) *Networks {
	t.Helper()
	n, err := Open(context.Background(), Options{Root: root, Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.213.0.1/24"), UserMap: m, Ready: 2})
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
			n.Start()
			t.Cleanup(func() { // after the containers are detached
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, n)
		})
	}
}

func attach(t *testing.T, n *Networks, r AttachRequest) *Endpoint {
	t.Helper()
	e, err := n.Attach(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); n.Detach(r.ContainerID) })
	return e
}

// serve answers every connection to port 80 in the namespace with its peer's address.
func serve(t *testing.T, ns *os.File) {
	t.Helper()
	var l net.Listener
	if err := netlink.In(ns, func() (err error) { l, err = net.Listen("tcp4", ":80"); return err }); err != nil {
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
		c, err = net.DialTimeout("tcp4", netip.AddrPortFrom(addr, 80).String(), 2*time.Second)
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
		a := attach(t, n, AttachRequest{ContainerID: "a"})
		b := attach(t, n, AttachRequest{ContainerID: "b", Network: "bridge"})
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
		v := netlink.Veth{Host: "hoyfar0", Peer: "eth0", Namespace: far, Address: netip.MustParsePrefix("192.0.2.2/24"), Gateway: netip.MustParseAddr("192.0.2.1")}
		if err := v.Add(); err != nil {
			t.Fatal(err)
		}
		defer netlink.DelLink("hoyfar0")
		if out, err := exec.Command("ip", "addr", "add", "192.0.2.1/24", "dev", "hoyfar0").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		serve(t, far)
		c := attach(t, n, AttachRequest{ContainerID: "c"})
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
		e := attach(t, n, AttachRequest{ContainerID: "a", Network: "none"})
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
	for _, name := range []string{"bridge", "none"} {
		e := attach(t, n, AttachRequest{ContainerID: name, Network: name})
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
		e := attach(t, n, AttachRequest{ContainerID: "a", Address: want, MAC: mac})
		if e.Address.Addr() != want || e.MAC.String() != mac.String() {
			t.Errorf("got %s %s", e.Address, e.MAC)
		}
		if _, err := n.Attach(context.Background(), AttachRequest{ContainerID: "b", Address: want}); !fault.Is(err, fault.Forbidden) {
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
			e, err := n.Attach(context.Background(), AttachRequest{ContainerID: id})
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
		attach(t, n, AttachRequest{ContainerID: "a"})
		if _, err := n.Attach(context.Background(), AttachRequest{ContainerID: "a"}); !fault.Is(err, fault.Conflict) {
			t.Errorf("attached twice: %v", err)
		}
		if _, err := n.Attach(context.Background(), AttachRequest{ContainerID: "x", Network: "nowhere"}); !fault.Is(err, fault.NotFound) {
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
	n.Start()
	e, err := n.Attach(context.Background(), AttachRequest{ContainerID: "a"})
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
	if err := n.Adopt("a", *e); err != nil {
		t.Fatal(err)
	}
	n.Start()
	if n.List()[0].ID != ids[0].ID {
		t.Error("the network has another id")
	}
	if _, err := n.Attach(context.Background(), AttachRequest{ContainerID: "b", Address: e.Address.Addr()}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("an adopted address was given again: %v", err)
	}
	if got, err := ask(nil, e.Address.Addr()); err != nil {
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
		attach(t, n, AttachRequest{ContainerID: fmt.Sprint(i)})
	}
	if _, err := n.Attach(context.Background(), AttachRequest{ContainerID: "x"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the sixth of five addresses: %v", err)
	}
}

func BenchmarkMakeBridged(b *testing.B) {
	rootful.Need(b)
	n, err := Open(context.Background(), Options{Root: b.TempDir(), Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.213.0.1/16")})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for b.Loop() {
		e, err := n.makeBridged()
		if err != nil {
			b.Fatal(err)
		}
		n.discard(e)
	}
}
