package hostports

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Any returns the addresses of a port that is published without one: every IPv4
// address, and every IPv6 address where the kernel has IPv6.
func Any() []netip.Addr {
	all := []netip.Addr{netip.IPv4Unspecified()}
	if fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		defer unix.Close(fd)
		if unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}) == nil {
			all = append(all, netip.IPv6Unspecified())
		}
	}
	return all
}

// bind makes the sockets of one port.
func bind(w Wanted, port uint16) (Reserved, error) {
	r := Reserved{Proto: w.Proto, Port: port}
	for _, h := range w.Hosts {
		s, err := socket(w.Proto, netip.AddrPortFrom(h, port))
		if err != nil {
			r.Close()
			return Reserved{}, err
		}
		r.Sockets = append(r.Sockets, s)
	}
	return r, nil
}

func socket(proto string, host netip.AddrPort) (Socket, error) {
	kind, number := unix.SOCK_STREAM, unix.IPPROTO_TCP
	switch proto {
	case "tcp":
	case "udp":
		kind, number = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case "sctp":
		number = unix.IPPROTO_SCTP
	default:
		return Socket{}, fmt.Errorf("unknown protocol %q: use tcp, udp or sctp", proto)
	}
	family := unix.AF_INET6
	if host.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, number)
	if proto == "sctp" && (errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT)) {
		return Socket{Host: host, Warning: fmt.Sprintf("port %s/sctp is not held against other programs: the kernel has no SCTP (module sctp)", host)}, nil
	}
	if err != nil {
		return Socket{}, fmt.Errorf("failed to create socket for %s/%s: %w", host, proto, err)
	}
	if err := setUp(fd, family, kind, host); err != nil {
		unix.Close(fd)
		return Socket{}, fmt.Errorf("failed to bind host port %s/%s: %w", host, proto, err)
	}
	return Socket{Host: host, File: os.NewFile(uintptr(fd), host.String()+"/"+proto)}, nil
}

// setUp binds a socket. Each family has one of its own, and a datagram tells to which
// address of the host it came, so that an answer can come from there.
func setUp(fd, family, kind int, host netip.AddrPort) error {
	var sa unix.Sockaddr
	level, told := unix.IPPROTO_IP, unix.IP_PKTINFO
	if host.Addr().Is4() {
		sa = &unix.SockaddrInet4{Addr: host.Addr().As4(), Port: int(host.Port())}
	} else {
		sa = &unix.SockaddrInet6{Addr: host.Addr().As16(), Port: int(host.Port())}
		level, told = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if kind == unix.SOCK_DGRAM {
		if err := unix.SetsockoptInt(fd, level, told, 1); err != nil {
			return err
		}
		return unix.Bind(fd, sa)
	}
	// Connections of the port's last owner that are not quite over do not keep it.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return err
	}
	return unix.Listen(fd, unix.SOMAXCONN)
}
