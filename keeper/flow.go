package keeper

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/epoll"
)

const (
	maxFlows  = 1024             // of one port
	idleFlow  = 60 * time.Second // as connection tracking has it, more or less
	tidyFlows = 20 * time.Second // how often old ones are looked for
	datagram  = 64 << 10         // bytes of the longest
	localFor  = time.Second      // that the machine's addresses are believed to be the same
)

// flows are the clients of a udp port, each with a socket of its own towards the
// container, by which answers find back.
type flows struct {
	mu     sync.Mutex
	closed bool
	of     map[ends]*flow
	tidy   *time.Timer
}

// ends are a client, and which of the host's addresses it asks; invalid: the kernel does
// not tell.
type ends struct {
	client netip.AddrPort
	link   uint32 // by which the client's address is known, if it is link-local
	asked  netip.Addr
}

type flow struct {
	client unix.Sockaddr
	source []byte      // control message: from which address the client expects answers
	back   *epoll.File // the port's, by which they are sent
	f      *epoll.File
	used   atomic.Int64 // Unix seconds
}

var datagramBuffers = sync.Pool{New: func() any { return new([datagram]byte) }}

func (p *heldPort) readDatagrams(f *epoll.File) bool {
	buf := datagramBuffers.Get().(*[datagram]byte)
	defer datagramBuffers.Put(buf)
	var control [controlSize]byte
	return f.ReceiveControl(buf[:], control[:], func(msg, control []byte, from unix.Sockaddr) {
		a := addrOf(from)
		if !p.everybodys() && !p.hs.unrouted(a.Addr()) {
			return
		}
		if fl := p.flow(f, a, from, control); fl != nil {
			fl.used.Store(time.Now().Unix())
			fl.f.Use(func(fd int) error { return unix.Send(fd, msg, unix.MSG_DONTWAIT) })
		}
	})
}

// flow finds or makes the flow of a client; nil: there are too many.
func (p *heldPort) flow(back *epoll.File, a netip.AddrPort, from unix.Sockaddr, control []byte) *flow {
	asked, source := answerFrom(control)
	key := ends{client: a, asked: asked}
	if six, ok := from.(*unix.SockaddrInet6); ok {
		key.link = six.ZoneId
	}
	p.flows.mu.Lock()
	defer p.flows.mu.Unlock()
	if fl := p.flows.of[key]; fl != nil {
		return fl
	}
	if p.flows.closed || len(p.flows.of) >= maxFlows || !p.hs.enter() {
		return nil
	}
	fl := &flow{client: from, source: source, back: back}
	if err := fl.open(p.hs.set, p.body.Load().Target); err != nil {
		p.hs.leave()
		return nil
	}
	if p.flows.of == nil {
		p.flows.of = map[ends]*flow{}
	}
	p.flows.of[key] = fl
	if p.flows.tidy == nil {
		p.flows.tidy = time.AfterFunc(tidyFlows, p.forgetFlows)
	}
	return fl
}

func (fl *flow) open(set *epoll.Set, to netip.AddrPort) error {
	domain, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port())})
	if to.Addr().Is4() {
		sa.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		domain, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, sa); err != nil {
		unix.Close(fd)
		return err
	}
	fl.f, err = set.Add(fd, fl.answer)
	return err
}

// answer sends what the container says to the client.
func (fl *flow) answer(f *epoll.File) bool {
	buf := datagramBuffers.Get().(*[datagram]byte)
	defer datagramBuffers.Put(buf)
	return f.Receive(buf[:], func(msg []byte, _ unix.Sockaddr) {
		fl.used.Store(time.Now().Unix())
		fl.back.Use(func(fd int) error { return unix.Sendmsg(fd, msg, fl.source, fl.client, unix.MSG_DONTWAIT) })
	})
}

// forgetFlows ends those that nobody uses, and looks again while there are others.
func (p *heldPort) forgetFlows() {
	old := time.Now().Add(-idleFlow).Unix()
	p.endFlows(func(fl *flow) bool { return fl.used.Load() < old })
}

// endFlows ends those that are over.
func (p *heldPort) endFlows(over func(*flow) bool) {
	p.flows.mu.Lock()
	defer p.flows.mu.Unlock()
	for key, fl := range p.flows.of {
		if p.flows.closed || over(fl) {
			fl.f.Close()
			delete(p.flows.of, key)
			p.hs.leave()
		}
	}
	if p.flows.tidy != nil {
		p.flows.tidy.Stop()
		p.flows.tidy = nil
	}
	if len(p.flows.of) > 0 {
		p.flows.tidy = time.AfterFunc(tidyFlows, p.forgetFlows)
	}
}

// closeFlows ends all.
func (p *heldPort) closeFlows() {
	p.flows.mu.Lock()
	p.flows.closed = true
	p.flows.mu.Unlock()
	p.endFlows(nil)
}

// localAddresses knows the machine's own addresses.
type localAddresses struct {
	mu      sync.Mutex
	read    time.Time
	present map[netip.Addr]bool
}

// has tells whether a is one. It reads them once a second at most, whoever sends.
func (l *localAddresses) has(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.read) > localFor {
		l.read, l.present = now, map[netip.Addr]bool{}
		as, _ := net.InterfaceAddrs()
		for _, n := range as {
			if n, ok := n.(*net.IPNet); ok {
				if a, ok := netip.AddrFromSlice(n.IP); ok {
					l.present[a.Unmap()] = true
				}
			}
		}
	}
	return l.present[a.WithZone("")]
}
