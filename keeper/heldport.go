package keeper

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/epoll"
)

const (
	maxForwarded   = 4096            // connections and flows of all ports, if there are files for them
	dialPatience   = 5 * time.Second // with a container
	filesForwarded = 4               // of a connection: two sockets, and the pipe between them
)

// heldPort is a port of the host that is held. It forwards what the machine itself sends
// there and nftables cannot divert, as to [::1]. What others send it forwards only where
// no rule could: from link-local addresses, for which the kernel does not route; a port of
// IPv6 that leads to a container of IPv4, or the reverse; and where the engine makes none.
// It is no way around the firewall, whose rules for the host have let that in.
type heldPort struct {
	hs    *holds
	body  atomic.Pointer[portBody] // as the engine has said it last
	f     *epoll.File
	flows flows // of udp
}

// holdPort takes fd, a socket of the port.
func (hs *holds) holdPort(b portBody, fd int) (p *heldPort, err error) {
	unix.SetNonblock(fd, true)
	p = &heldPort{hs: hs}
	p.body.Store(&b)
	ready := p.accept
	if b.Proto == "udp" {
		ready = p.readDatagrams
	}
	p.f, err = hs.set.Add(fd, ready)
	return p, err
}

// now says what the engine has said last. Flows to where the port led before end, though
// their clients go on sending: nobody answers there any more.
func (p *heldPort) now(b *portBody) {
	if was := p.body.Swap(b); was.Target != b.Target {
		p.endFlows(func(*flow) bool { return true })
	}
}

// close frees the port. Connections go on until they end.
func (p *heldPort) close() {
	p.f.Close()
	p.closeFlows()
}

func (p *heldPort) accept(f *epoll.File) bool { return f.Accept(p.take) }

// take forwards a connection that is to be, and resets others.
func (p *heldPort) take(fd int) {
	if p.body.Load().Proto == "tcp" && (p.everybodys() || p.unrouted(fd)) && p.hs.enter() {
		f := os.NewFile(uintptr(fd), "published")
		c, err := net.FileConn(f)
		f.Close()
		if tcp, ok := c.(*net.TCPConn); ok && err == nil {
			go p.forward(tcp)
			return
		}
		p.hs.leave()
		return
	}
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// everybodys tells a port that no rule diverts: the engine makes none, or its sides are of
// different families, whose addresses cannot be translated from one to the other.
func (p *heldPort) everybodys() bool {
	b := p.body.Load()
	return b.Everybody || b.Host.Addr().Is4() != b.Target.Addr().Is4()
}

// unrouted tells whether no rule diverts the peer of a connection: it is the machine itself,
// or has a link-local address.
func (p *heldPort) unrouted(fd int) bool {
	peer, err1 := unix.Getpeername(fd)
	self, err2 := unix.Getsockname(fd)
	if err1 != nil || err2 != nil {
		return false
	}
	a := addrOf(peer).Addr()
	return a == addrOf(self).Addr() || p.hs.unrouted(a)
}

func (hs *holds) unrouted(a netip.Addr) bool {
	return a.Is6() && a.IsLinkLocalUnicast() || hs.local.has(a)
}

func (hs *holds) enter() bool {
	if hs.open.Add(1) > hs.most {
		hs.open.Add(-1)
		return false
	}
	return true
}

func (hs *holds) leave() { hs.open.Add(-1) }

// forward copies both ways, in the kernel, until both sides have ended.
func (p *heldPort) forward(c *net.TCPConn) {
	defer p.hs.leave()
	defer c.Close()
	d, err := net.DialTimeout("tcp", p.body.Load().Target.String(), dialPatience)
	if err != nil {
		c.SetLinger(0) // as if nobody listened
		return
	}
	defer d.Close()
	t := d.(*net.TCPConn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		carry(c, t)
	}()
	carry(t, c)
	<-done
}

// carry copies what from sends, and its end. A reset is passed on too.
func carry(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.SetLinger(0)
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}

func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
