package lan

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
	"hoy/test/eventually"
)

// Host is a network namespace: a container, a peer, a router, or the host itself.
type Host struct {
	Name string
	NS   *os.File
}

// ThisHost is where the firewall is: the namespace of the test.
func ThisHost(t testing.TB) Host {
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return Host{"host", ns}
}

// NewHost makes one that nothing is wired to.
func NewHost(t testing.TB, name string) Host {
	t.Helper()
	ns, err := hoynet.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	Must(t, hoynet.LoopbackUp(ns))
	return Host{name, ns}
}

// Must fails t when there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Do runs f in the host's network namespace: what it opens stays there.
func (h Host) Do(f func() error) error { return hoynet.In(h.NS, f) }

// wire connects two hosts by a veth pair; a port of a bridge where bridge is not "".
func wire(t testing.TB, a Host, aName string, b Host, bName, bridge string) {
	t.Helper()
	Must(t, a.Do(func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: aName, MTU: 1500}, PeerName: bName, PeerNamespace: netlink.NsFd(b.NS.Fd())}
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
	Must(t, b.Do(func() error {
		l, err := netlink.LinkByName(bName)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}))
}

// Addresses gives a link addresses, IPv6 ones without a search for duplicates.
func (h Host) Addresses(t testing.TB, link string, prefixes ...string) {
	t.Helper()
	Must(t, h.Do(func() error {
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

// Route leads a prefix by a gateway.
func (h Host) Route(t testing.TB, to, via string) {
	t.Helper()
	Must(t, h.Do(func() error {
		_, dst, err := net.ParseCIDR(to)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)})
	}))
}

// Sysctl sets a value below /proc/sys/net.
func (h Host) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	Must(t, h.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }))
}

// Serve answers on a port, by every protocol, with the host's name and the address that
// it sees the client under.
func (h Host) Serve(t testing.TB, port int) {
	t.Helper()
	Must(t, h.Do(func() error {
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
				u.WriteTo([]byte(h.Name+" sees "+seen(from)), from)
			}
		}()
		return nil
	}))
}

// answer says a line at once, and one for each byte that comes.
func (h Host) answer(t testing.TB, c net.Conn) {
	t.Cleanup(func() { c.Close() }) // it may have been cut, and not learn of its end
	defer c.Close()
	b := make([]byte, 1)
	for {
		if _, err := fmt.Fprintf(c, "%s sees %s\n", h.Name, seen(c.RemoteAddr())); err != nil {
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

// Patience is how long an answer may take that must come, and Silence how long one is
// waited for that must not.
const Patience, Silence = eventually.Patience, 250 * time.Millisecond

// Ask connects, and returns the line that the server says; "" is silence or refusal.
func (h Host) Ask(proto, to string, wait time.Duration, from ...string) string {
	got, _ := h.ask(proto, to, wait, from...)
	return got
}

func (h Host) ask(proto, to string, wait time.Duration, from ...string) (got string, err error) {
	err = h.Do(func() error {
		d := net.Dialer{Timeout: wait}
		if len(from) > 0 {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from[0])}
		}
		c, err := d.Dial(proto, to)
		if err != nil {
			return err
		}
		defer c.Close()
		got = Line(c, proto == "udp", wait)
		return nil
	})
	return got, err
}

// Line reads what the server says; of a datagram's server it is asked for again and
// again, as one may be lost while addresses are resolved.
func Line(c net.Conn, datagram bool, wait time.Duration) string {
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

// Expect asks for a port by TCP and UDP, and compares what the server says.
func (h Host) Expect(t testing.TB, to, want string) {
	t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		wait := Patience
		if want == "" {
			wait = Silence
		}
		if got, err := h.ask(proto, to, wait); got != want {
			t.Errorf("%s to %s by %s: %q (%v), want %q", h.Name, to, proto, got, err, want)
		}
	}
}

// bridgeIn is a bridge of a host other than this.
type bridgeIn struct {
	host Host
	name string
}

func (b *bridgeIn) add(t testing.TB) {
	t.Helper()
	Must(t, b.host.Do(func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: b.name}})
	}))
}

// Remove deletes a link.
func (h Host) Remove(t testing.TB, link string) {
	Must(t, h.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	}))
}

// addrIn are a network's IPv4 and IPv6 address of a number, with the subnet's length.
func addrIn(n Bridge, number int) []string {
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

// LoopbackElsewhere makes a host's own 127.0.0.0/8 another one's, for an attack.
func LoopbackElsewhere(gateway string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.AddrDel(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)}}); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(32, 32)}, Gw: net.ParseIP(gateway)})
}

// Tell sends one datagram from an address.
func (h Host) Tell(t testing.TB, from, to, what string) {
	t.Helper()
	Must(t, h.Do(func() error {
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

// NewBridge makes a link that lasts as long as the test.
func NewBridge(t testing.TB, name string) netlink.Link {
	t.Helper()
	l := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(l); err != nil {
			t.Error(err)
		}
	})
	return l
}
