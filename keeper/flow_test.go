package keeper

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	hoynetlink "hoy/linux/netlink"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// held is a port that is published at every address of a family, as the engine binds it
// (network/hostports).
func held(t *testing.T, v6 bool, target netip.AddrPort) (p *heldPort, port int) {
	t.Helper()
	domain, level, told, at := unix.AF_INET, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.Sockaddr(&unix.SockaddrInet4{})
	if v6 {
		domain, level, told, at = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, &unix.SockaddrInet6{}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, level, told, 1)
	}
	if err == nil {
		err = unix.Bind(fd, at)
	}
	if err == nil {
		at, err = unix.Getsockname(fd)
	}
	hs := newHolds()
	if err == nil {
		err = hs.begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	host := addrOf(at)
	if p, err = hs.holdPort(portBody{Proto: "udp", Host: host, Target: target, Everybody: true}, fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close(); hs.set.Close() })
	return p, int(host.Port())
}

// program answers with its name.
func program(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers(t, c, name)
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

func answers(t *testing.T, c net.PacketConn, name string) {
	t.Cleanup(func() { c.Close() })
	go func() {
		for {
			_, from, err := c.ReadFrom(make([]byte, 100))
			if err != nil {
				return
			}
			c.WriteTo([]byte(name), from)
		}
	}()
}

// client asks one address of the host.
func client(t *testing.T, from, to string, port int) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.ParseIP(to), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// hears asks until somebody answers, and wants that to be the program called name.
func hears(t *testing.T, c *net.UDPConn, name string) {
	t.Helper()
	got := make([]byte, 100)
	for end := time.Now().Add(10 * time.Second); ; {
		c.Write([]byte("?"))
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Read(got)
		if string(got[:n]) == name {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s at %s hears %q (%v), want %q", c.LocalAddr(), c.RemoteAddr(), got[:n], err, name)
		}
	}
}

// TestAnswersComeFromWhereTheyAreAwaited has a client ask several addresses of a host from
// one port: each answer comes from the address that was asked.
func TestAnswersComeFromWhereTheyAreAwaited(t *testing.T) {
	_, port := held(t, false, program(t, "dns"))
	first := client(t, "127.0.0.1", "127.0.0.2", port)
	hears(t, first, "dns")
	same, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	same.SetReadDeadline(time.Now().Add(10 * time.Second))
	for _, to := range []string{"127.0.0.3", "127.0.0.4", "127.0.0.3"} {
		if _, err := same.WriteTo([]byte("?"), &net.UDPAddr{IP: net.ParseIP(to), Port: port}); err != nil {
			t.Fatal(err)
		}
		_, from, err := same.ReadFromUDPAddrPort(make([]byte, 100))
		if err != nil || from.Addr().String() != to {
			t.Errorf("%s is asked, %s answers (%v)", to, from, err)
		}
	}
}

// TestAnswersOfIPv6ComeFromWhereTheyAreAwaited is the same for a port of IPv6.
func TestAnswersOfIPv6ComeFromWhereTheyAreAwaited(t *testing.T) {
	rootful.Check(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"2001:db8::1/128", "2001:db8::2/128"} {
		addr, err := netlink.ParseAddr(a)
		if err == nil {
			addr.Flags = unix.IFA_F_NODAD
			err = netlink.AddrAdd(lo, addr)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { netlink.AddrDel(lo, addr) })
		eventually.True(t, "the address is the machine's", func() bool { // a socket keeps the route that it has found
			routes, err := netlink.RouteGet(addr.IP)
			return err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL
		})
	}
	_, port := held(t, true, program(t, "dns"))
	for _, to := range []string{"2001:db8::1", "2001:db8::2", "::1"} {
		hears(t, client(t, "::1", to, port), "dns")
	}
}

// neighbour makes a link to a network namespace, with link-local addresses at both ends. It
// returns the namespace, and the address of this end as it is known there.
func neighbour(t *testing.T) (ns *os.File, host string) {
	t.Helper()
	ns, err := hoynetlink.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "hoynear0"}, PeerName: "hoyfar0", PeerNamespace: netlink.NsFd(ns.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(veth) })
	up := func(name, address string) error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
	}
	if err := errors.Join(up("hoynear0", "fe80::1/64"), hoynetlink.In(ns, func() error { return up("hoyfar0", "fe80::2/64") })); err != nil {
		t.Fatal(err)
	}
	return ns, "fe80::1%hoyfar0"
}

// TestLinkLocalPeers: the kernel routes nothing for them, so that no rule diverts what they
// send to a published port; the keeper forwards it.
func TestLinkLocalPeers(t *testing.T) {
	rootful.Check(t)
	ns, host := neighbour(t)
	p, port := held(t, true, netip.AddrPort{})
	six, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	answers(t, six, "dns")
	b := *p.body.Load()
	b.Target, b.Everybody = netip.MustParseAddrPort(six.LocalAddr().String()), false
	p.now(&b)
	if err := hoynetlink.In(ns, func() error {
		c, err := net.Dial("udp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			defer c.Close()
			hears(t, c.(*net.UDPConn), "dns")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	q, port := heldStream(t, p.hs)
	defer q.close()
	if err := hoynetlink.In(ns, func() error {
		c, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if got, err := io.ReadAll(c); string(got) != "web" {
			t.Errorf("by TCP it hears %q, %v", got, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// heldStream is a port of TCP at every address of IPv6, which leads to a program that says
// "web" once.
func heldStream(t *testing.T, hs *holds) (p *heldPort, port int) {
	t.Helper()
	host, err1 := net.Listen("tcp", "[::]:0")
	web, err2 := net.Listen("tcp", "[::1]:0")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { web.Close() })
	go func() {
		if c, err := web.Accept(); err == nil {
			io.WriteString(c, "web")
			c.Close()
		}
	}()
	f, err := host.(*net.TCPListener).File()
	host.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(host.Addr().String())
	if p, err = hs.holdPort(portBody{Proto: "tcp", Host: at, Target: netip.MustParseAddrPort(web.Addr().String())}, fd); err != nil {
		t.Fatal(err)
	}
	return p, int(at.Port())
}

// TestFlowsFollow: a client that goes on sending from the same port meets the container
// where the port leads now.
func TestFlowsFollow(t *testing.T) {
	p, port := held(t, false, program(t, "before"))
	c := client(t, "127.0.0.1", "127.0.0.1", port)
	hears(t, c, "before")
	b := *p.body.Load()
	b.Target = program(t, "after")
	p.now(&b)
	hears(t, c, "after")
	if n := len(p.flows.of); n != 1 || p.hs.open.Load() != 1 {
		t.Errorf("%d flows, %d counted", n, p.hs.open.Load())
	}
}
