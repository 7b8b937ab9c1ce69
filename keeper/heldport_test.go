package keeper_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/linux/netlink"
)

func listenTCP(t *testing.T, addr string) listening {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fileOf(l.(*net.TCPListener), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return listening{f, l.Addr().String()}
}

func listenUDP(t *testing.T, addr string) listening {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fileOf(c.(*net.UDPConn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return listening{f, c.LocalAddr().String()}
}

// serve is a container's program: it answers with what it got, and its name before that.
func serve(t *testing.T, proto, name string) netip.AddrPort {
	t.Helper()
	if proto == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				c.WriteTo(append([]byte(name+" "), buf[:n]...), from)
			}
		}()
		return netip.MustParseAddrPort(c.LocalAddr().String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				got, _ := io.ReadAll(c)
				io.WriteString(c, name+" "+string(got))
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// says sends something to addr and expects the answer of the program called name.
func says(t *testing.T, proto, addr, name string) {
	t.Helper()
	said := strings.Repeat("x", 1000)
	if proto == "tcp" {
		said = strings.Repeat("y", 3<<20)
	}
	c, err := net.Dial(proto, addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, said); err != nil {
		t.Error(err)
		return
	}
	got := make([]byte, 64<<10)
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.CloseWrite()
		got, err = io.ReadAll(c)
	} else {
		var n int
		n, err = c.Read(got)
		got = got[:n]
	}
	if want := name + " " + said; err != nil || string(got) != want {
		t.Errorf("%s %s: %d bytes, want %d, %v", proto, addr, len(got), len(want), err)
	}
}

// TestHeldPorts forwards what the machine itself sends, by TCP and UDP, to loopback and
// other addresses of it, and refuses what comes from elsewhere; but not where host and
// container have addresses of different families, which no rule translates, or where the
// engine makes no rules.
func TestHeldPorts(t *testing.T) {
	b := newBed(t)
	b0 := netlink.Bridge{Name: "held0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}}
	bridge, _, err := b0.Ensure()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.DelLink("held0") })
	s := newSandbox(t)
	link := netlink.Link{Kind: netlink.Veth, Host: "held1", Name: "eth0", Parent: bridge, Namespace: s.ns, Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}
	if err := link.Add(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.DelLink("held1") })
	tcp, udp := listenTCP(t, "[::]:0"), listenUDP(t, "[::]:0")
	tcp4, udp4 := listenTCP(t, "10.9.0.1:0"), listenUDP(t, "10.9.0.1:0")
	open, openUDP := listenTCP(t, "10.9.0.1:0"), listenUDP(t, "10.9.0.1:0")
	web, dns := serve(t, "tcp", "web"), serve(t, "udp", "dns")
	b.hold(keeper.NetworkHold{ID: "c", Generation: 1, Ports: []keeper.HeldPort{
		{tcp.file, "tcp", netip.MustParseAddrPort(tcp.addr), web, false}, {udp.file, "udp", netip.MustParseAddrPort(udp.addr), dns, false},
		{tcp4.file, "tcp", netip.MustParseAddrPort(tcp4.addr), web, false}, {udp4.file, "udp", netip.MustParseAddrPort(udp4.addr), dns, false},
		{open.file, "tcp", netip.MustParseAddrPort(open.addr), web, true}, {openUDP.file, "udp", netip.MustParseAddrPort(openUDP.addr), dns, true}}})
	_, tcpPort, _ := net.SplitHostPort(tcp.addr)
	_, udpPort, _ := net.SplitHostPort(udp.addr)
	for _, host := range []string{"::1", "127.0.0.1", "10.9.0.1"} {
		says(t, "tcp", net.JoinHostPort(host, tcpPort), "web")
		for range 3 {
			says(t, "udp", net.JoinHostPort(host, udpPort), "dns")
		}
	}
	s.in(func() error {
		says(t, "tcp", "10.9.0.1:"+tcpPort, "web")
		says(t, "udp", "10.9.0.1:"+udpPort, "dns")
		says(t, "tcp", open.addr, "web")
		says(t, "udp", openUDP.addr, "dns")
		_, tcpPort, _ := net.SplitHostPort(tcp4.addr)
		_, udpPort, _ := net.SplitHostPort(udp4.addr)
		c, err := net.Dial("tcp", "10.9.0.1:"+tcpPort)
		if err == nil {
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			_, err = c.Read(make([]byte, 1))
		}
		if !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a stranger's connection: %v", err)
		}
		u, err := net.Dial("udp", "10.9.0.1:"+udpPort)
		if err != nil {
			return err
		}
		defer u.Close()
		io.WriteString(u, "hello")
		u.SetDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err := u.Read(make([]byte, 10)); err == nil || !os.IsTimeout(err) {
			t.Errorf("a stranger's datagram: %d bytes, %v", n, err)
		}
		return nil
	})
	says(t, "udp", "[::1]:"+udpPort, "dns")
	gone := listenTCP(t, "127.0.0.1:0")
	gone.file.Close()
	b.hold(keeper.NetworkHold{ID: "c", Generation: 1, Ports: []keeper.HeldPort{{nil, "tcp", netip.MustParseAddrPort(tcp.addr), netip.MustParseAddrPort(gone.addr), false}}})
	c, err := net.Dial("tcp", "[::1]:"+tcpPort)
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("nobody listens in the container: %v", err)
	}
}
