package hostports

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

func reserve(t *testing.T, p *Ports, w Wanted) Reserved {
	t.Helper()
	got, err := p.Reserve(context.Background(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(got[0].Close)
	return got[0]
}

func refuse(t *testing.T, p *Ports, w Wanted, want string) {
	t.Helper()
	got, err := p.Reserve(context.Background(), w)
	if err == nil {
		t.Fatalf("got port %d, want the error %q", got[0].Port, want)
	}
	if err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
}

var (
	any4 = []netip.Addr{netip.IPv4Unspecified()}
	lo4  = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
)

// TestHeld: a port that is reserved is nobody else's, at no address and of no family.
func TestHeld(t *testing.T) {
	rootful.Check(t)
	var p Ports
	r := reserve(t, &p, Wanted{"tcp", Any(), 8080, 8080})
	if r.Port != 8080 || len(r.Sockets) != 2 {
		t.Fatalf("reserved %+v", r)
	}
	for _, at := range []string{"0.0.0.0:8080", "127.0.0.1:8080", "[::]:8080", "[::1]:8080"} {
		if l, err := net.Listen("tcp", at); err == nil {
			l.Close()
			t.Errorf("another program listens at %s", at)
		}
	}
	refuse(t, &p, Wanted{"tcp", lo4, 8080, 8080}, "Bind for 0.0.0.0:8080 failed: port is already allocated")
	reserve(t, &p, Wanted{"udp", Any(), 8080, 8080}) // another protocol's
	r.Close()
	for _, s := range r.Sockets {
		p.Release("tcp", s.Host)
	}
	reserve(t, &p, Wanted{"tcp", lo4, 8080, 8080})
	refuse(t, &p, Wanted{"tcp", any4, 8080, 8080}, "Bind for 127.0.0.1:8080 failed: port is already allocated")
}

// TestOthersPorts: docker's words for what another program has.
func TestOthersPorts(t *testing.T) {
	rootful.Check(t)
	l, err := net.Listen("tcp4", "0.0.0.0:8081")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var p Ports
	refuse(t, &p, Wanted{"tcp", any4, 8081, 8081}, "failed to bind host port 0.0.0.0:8081/tcp: address already in use")
	refuse(t, &p, Wanted{"tcp", Any(), 8081, 8081}, "failed to bind host port 0.0.0.0:8081/tcp: address already in use")
	refuse(t, &p, Wanted{"tcp", []netip.Addr{netip.MustParseAddr("192.0.2.77")}, 80, 80}, "failed to bind host port 192.0.2.77:80/tcp: cannot assign requested address")
	if r := reserve(t, &p, Wanted{"tcp", any4, 8080, 8082}); r.Port != 8080 {
		t.Errorf("of 8080-8082 it is %d", r.Port)
	}
	if r := reserve(t, &p, Wanted{"tcp", any4, 8080, 8082}); r.Port != 8082 {
		t.Errorf("with 8080 and 8081 taken it is %d", r.Port)
	}
	refuse(t, &p, Wanted{"tcp", any4, 8080, 8080}, "Bind for 0.0.0.0:8080 failed: port is already allocated")
	refuse(t, &p, Wanted{"tcp", any4, 8082, 8082}, "Bind for 0.0.0.0:8082 failed: port is already allocated")
	refuse(t, &p, Wanted{"tcp", any4, 8080, 8082}, "failed to bind host port 0.0.0.0:8081/tcp: address already in use")
	l.Close()
	reserve(t, &p, Wanted{"tcp", any4, 8081, 8081})
	refuse(t, &p, Wanted{"tcp", any4, 8080, 8082}, "all ports are allocated")
}

// TestAnyFree: from the kernel's range, the same number for both families, never the
// same twice, without those that are reserved by the administrator.
func TestAnyFree(t *testing.T) {
	rootful.Check(t)
	sysctl := func(name, value string) {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	before := readSysctl("ip_local_port_range")
	sysctl("ip_local_port_range", "40000 40005")
	sysctl("ip_local_reserved_ports", "40001,40003-40004")
	t.Cleanup(func() { sysctl("ip_local_port_range", before); sysctl("ip_local_reserved_ports", "\n") })
	var p Ports
	first := reserve(t, &p, Wanted{Proto: "udp", Hosts: Any()})
	if first.Sockets[0].Host.String() != "0.0.0.0:40000" || first.Sockets[1].Host.String() != "[::]:40000" {
		t.Errorf("at first %v", first.Sockets)
	}
	if r := reserve(t, &p, Wanted{Proto: "udp", Hosts: Any()}); r.Port != 40002 {
		t.Errorf("then %d", r.Port)
	}
	first.Close()
	p.Release("udp", first.Sockets[0].Host)
	p.Release("udp", first.Sockets[1].Host)
	if r := reserve(t, &p, Wanted{Proto: "udp", Hosts: Any()}); r.Port != 40005 {
		t.Errorf("then %d, not one that has not been used", r.Port)
	}
	if r := reserve(t, &p, Wanted{Proto: "udp", Hosts: Any()}); r.Port != 40000 {
		t.Errorf("at last %d", r.Port)
	}
	refuse(t, &p, Wanted{Proto: "udp", Hosts: Any()}, "all ports are allocated")
}

// TestAllOrNothing: what one of several makes impossible is not kept for the others.
func TestAllOrNothing(t *testing.T) {
	rootful.Check(t)
	var p Ports
	if err := p.Claim("tcp", netip.MustParseAddrPort("0.0.0.0:82")); err != nil {
		t.Fatal(err)
	}
	_, err := p.Reserve(context.Background(), Wanted{"tcp", Any(), 81, 81}, Wanted{"tcp", Any(), 82, 82})
	if err == nil || !strings.Contains(err.Error(), "0.0.0.0:82 failed") {
		t.Fatalf("reserved what is claimed: %v", err)
	}
	reserve(t, &p, Wanted{"tcp", Any(), 81, 81})
	p.Release("tcp", netip.MustParseAddrPort("0.0.0.0:82"))
	reserve(t, &p, Wanted{"tcp", Any(), 82, 82})
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(fmt.Errorf("the client has gone"))
	if _, err := p.Reserve(ctx, Wanted{"tcp", Any(), 83, 83}); err == nil || err.Error() != "the client has gone" {
		t.Errorf("reserved for who has gone: %v", err)
	}
}

// TestSCTP: held by a socket where the kernel can, otherwise by number and with a reason.
func TestSCTP(t *testing.T) {
	rootful.Check(t)
	var p Ports
	r := reserve(t, &p, Wanted{"sctp", any4, 3868, 3868})
	if s := r.Sockets[0]; (s.File == nil) == (s.Warning == "") {
		t.Errorf("socket %v with warning %q", s.File, s.Warning)
	}
	refuse(t, &p, Wanted{"sctp", any4, 3868, 3868}, "Bind for 0.0.0.0:3868 failed: port is already allocated")
}

func TestWrong(t *testing.T) {
	var p Ports
	refuse(t, &p, Wanted{"tcp", any4, 90, 80}, "invalid port range: 90-80")
	refuse(t, &p, Wanted{"icmp", any4, 80, 80}, `unknown protocol "icmp": use tcp, udp or sctp`)
	refuse(t, &p, Wanted{"tcp", nil, 80, 80}, "no address of the host to reserve a port at")
}

// TestSockets: a stream socket listens, and a datagram tells where it came to.
func TestSockets(t *testing.T) {
	rootful.Check(t)
	var p Ports
	reserve(t, &p, Wanted{"tcp", Any(), 84, 84})
	for _, at := range []string{"127.0.0.1:84", "[::1]:84"} {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for _, s := range reserve(t, &p, Wanted{"udp", Any(), 84, 84}).Sockets {
		level, told := unix.IPPROTO_IP, unix.IP_PKTINFO
		if s.Host.Addr().Is6() {
			level, told = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		if on, err := unix.GetsockoptInt(int(s.File.Fd()), level, told); err != nil || on != 1 {
			t.Errorf("%s: %d, %v", s.Host, on, err)
		}
	}
}

func FuzzPortList(f *testing.F) {
	f.Add("8080,9148-9150")
	f.Add("\n")
	f.Fuzz(func(t *testing.T, s string) {
		in := portList(s)
		for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
			var n uint16
			if _, err := fmt.Sscanf(part, "%d", &n); err == nil && fmt.Sprint(n) == part && !in(n) {
				t.Errorf("%q does not have %d", s, n)
			}
		}
	})
}
