package names

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"hoy/lib/rawconn"
)

// buffers are for whole datagrams, while one is read.
var buffers = sync.Pool{New: func() any { return new([maxTCP]byte) }}

// dial makes a socket that is connected to a server, or by TCP about to be, in a network
// namespace; nil: the keeper's own, the host's.
func dial(to netip.AddrPort, netns *os.File, tcp bool) (c *os.File, err error) {
	if netns == nil {
		c, err = socket(to, tcp)
	} else {
		nerr := inside(netns, func() { c, err = socket(to, tcp) })
		err = errors.Join(nerr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w", to, err)
	}
	return c, nil
}

func socket(to netip.AddrPort, tcp bool) (*os.File, error) {
	domain, kind := unix.AF_INET, unix.SOCK_DGRAM
	if to.Addr().Is6() {
		domain = unix.AF_INET6
	}
	if tcp {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "dns"), nil
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	a := to.Addr()
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(to.Port()), Addr: a.As16()}
	if z := a.Zone(); z != "" {
		if n, err := strconv.ParseUint(z, 10, 32); err == nil {
			sa.ZoneId = uint32(n)
		} else if link, err := net.InterfaceByName(z); err == nil {
			sa.ZoneId = uint32(link.Index)
		}
	}
	return sa
}

// inside runs f, which does not wait, on a thread in a network namespace. A socket stays
// in the one that it was made in.
func inside(netns *os.File, f func()) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(home)
		err = enter(netns)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	f()
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return nil
}

func enter(netns *os.File) error {
	raw, err := netns.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) { serr = unix.Setns(int(fd), unix.CLONE_NEWNET) })
	return errors.Join(err, os.NewSyscallError("setns", serr))
}

// connected waits until a stream socket is.
func connected(c *os.File) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	err = rawconn.Write(raw, func(fd uintptr) bool {
		e, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && e != 0 {
			err = unix.Errno(e)
		}
		if cerr = os.NewSyscallError("connect", err); err != nil {
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil
	})
	return errors.Join(err, cerr)
}

// readMessage reads a message with its length before it (RFC 1035, 4.2.2).
func readMessage(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, fmt.Errorf("a message is cut off: %w", err)
	}
	return msg, nil
}
