package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	hoynet "hoy/linux/netlink"
)

// host is a network namespace: a container, a peer, a router, or the host itself.
type host struct {
	name string
	ns   *os.File
}

// thisHost is where the firewall is: the namespace of the test.
func thisHost(t testing.TB) host {
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return host{"host", ns}
}

func newHost(t testing.TB, name string) host {
	t.Helper()
	ns, err := hoynet.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	must(t, hoynet.LoopbackUp(ns))
	return host{name, ns}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// do runs f in the host's network namespace: what it opens stays there.
func (h host) do(f func() error) error { return hoynet.In(h.ns, f) }

// wire connects two hosts by a veth pair; a port of a bridge where bridge is not "".
func wire(t testing.TB, a host, aName string, b host, bName, bridge string) {
	t.Helper()
	must(t, a.do(func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: aName, MTU: 1500}, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns.Fd())}
		if err := netlink.LinkAdd(v); err != nil {
			return fmt.Errorf("veth %s: %w", aName, err)
		}
		if bridge != "" {
			br, err := netlink.LinkByName(bridge)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(v, br); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(v)
	}))
	must(t, b.do(func() error {
		l, err := netlink.LinkByName(bName)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}))
}

// addresses gives a link addresses, IPv6 ones without a search for duplicates.
func (h host) addresses(t testing.TB, link string, prefixes ...string) {
	t.Helper()
	must(t, h.do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		for _, p := range prefixes {
			a, err := netlink.ParseAddr(p)
			if err != nil {
				return err
			}
			if a.IP.To4() == nil {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(l, a); err != nil {
				return fmt.Errorf("address %s: %w", p, err)
			}
		}
		return netlink.LinkSetUp(l)
	}))
}

// route leads a prefix by a gateway.
func (h host) route(t testing.TB, to, via string) {
	t.Helper()
	must(t, h.do(func() error {
		_, dst, err := net.ParseCIDR(to)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)})
	}))
}

func (h host) sysctl(t testing.TB, name, value string) {
	t.Helper()
	must(t, h.do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }))
}

// serve answers on a port, by every protocol, with the host's name and the address that
// it sees the client under.
func (h host) serve(t testing.TB, port int) {
	t.Helper()
	must(t, h.do(func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close(); u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go h.answer(t, c)
			}
		}()
		go func() {
			b := make([]byte, 1500)
			for {
				_, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				u.WriteTo([]byte(h.name+" sees "+seen(from)), from)
			}
		}()
		return nil
	}))
}

// answer says a line at once, and one for each byte that comes.
func (h host) answer(t testing.TB, c net.Conn) {
	t.Cleanup(func() { c.Close() }) // it may have been cut, and not learn of its end
	defer c.Close()
	b := make([]byte, 1)
	for {
		if _, err := fmt.Fprintf(c, "%s sees %s\n", h.name, seen(c.RemoteAddr())); err != nil {
			return
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
	}
}

func seen(a net.Addr) string {
	return netip.MustParseAddrPort(a.String()).Addr().Unmap().String()
}

// patience is how long an answer may take that must come, and silence how long one is
// waited for that must not.
const patience, silence = 20 * time.Second, 250 * time.Millisecond

// ask connects, and returns the line that the server says; "" is silence or refusal.
func (h host) ask(proto, to string, wait time.Duration, from ...string) string {
	var got string
	h.do(func() error {
		d := net.Dialer{Timeout: wait}
		if len(from) > 0 {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from[0])}
		}
		c, err := d.Dial(proto, to)
		if err != nil {
			return err
		}
		defer c.Close()
		got = line(c, proto == "udp", wait)
		return nil
	})
	return got
}

// line reads what the server says; of a datagram's server it is asked for again and
// again, as one may be lost while addresses are resolved.
func line(c net.Conn, datagram bool, wait time.Duration) string {
	b := make([]byte, 200)
	for end := time.Now().Add(wait); time.Now().Before(end); {
		if !datagram {
			c.SetReadDeadline(end)
		} else {
			c.Write([]byte("?"))
			c.SetReadDeadline(time.Now().Add(min(wait, 100*time.Millisecond)))
		}
		n, err := c.Read(b)
		if err == nil {
			return strings.TrimSpace(string(b[:n]))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !datagram {
			return ""
		}
	}
	return ""
}

// expect asks for a port by TCP and UDP, and compares what the server says.
func (h host) expect(t testing.TB, to, want string) {
	t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		wait := patience
		if want == "" {
			wait = silence
		}
		if got := h.ask(proto, to, wait); got != want {
			t.Errorf("%s to %s by %s: %q, want %q", h.name, to, proto, got, want)
		}
	}
}

// bridgeIn is a bridge of a host other than this.
type bridgeIn struct {
	host host
	name string
}

func (b *bridgeIn) add(t testing.TB) {
	t.Helper()
	must(t, b.host.do(func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: b.name}})
	}))
}

func (h host) remove(t testing.TB, link string) {
	must(t, h.do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	}))
}

// addrIn are a network's IPv4 and IPv6 address of a number, with the subnet's length.
func addrIn(n Network, number int) []string {
	var all []string
	for _, s := range []netip.Prefix{n.Subnet, n.Subnet6} {
		a := s.Addr()
		for range number {
			a = a.Next()
		}
		all = append(all, netip.PrefixFrom(a, s.Bits()).String())
	}
	return all
}

// loopbackElsewhere makes a host's own 127.0.0.0/8 another one's, for an attack.
func loopbackElsewhere(gateway string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.AddrDel(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)}}); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(32, 32)}, Gw: net.ParseIP(gateway)})
}

// tell sends one datagram from an address.
func (h host) tell(t testing.TB, from, to, what string) {
	t.Helper()
	must(t, h.do(func() error {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("udp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte(what))
		return err
	}))
}
