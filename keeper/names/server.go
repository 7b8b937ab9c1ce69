package names

import (
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"hoy/linux/epoll"
)

const (
	maxAsked = 1024             // questions of a container that others are asked at a time
	maxConns = 128              // its connections
	idleConn = 10 * time.Second // after which one ends
	maxQuery = 4096             // bytes
	received = 1 << 20          // bytes of datagrams that wait
)

// Resolver says what a Server answers.
type Resolver struct {
	View
	Servers []netip.AddrPort // whom to ask for other names, from NetNS; none: the host's
	NetNS   *os.File         // of the container; the Server's to close; nil: the one it has
}

// Server answers at the sockets of one container. It costs a few hundred bytes while
// nobody asks.
//
//	s, err := names.Serve(set, tables, host, udp, tcp)
//	s.Configure(names.Resolver{View: names.View{Networks: []string{id}}})
type Server struct {
	tables *Tables
	host   *Host

	udp, tcp *epoll.File
	now      atomic.Pointer[settings]
	asked    atomic.Int32

	mu     sync.Mutex
	closed bool
	conns  map[*os.File]struct{}
}

// settings are what is changed by Configure as a whole.
type settings struct {
	view    *View
	servers []*server
	netns   *os.File
}

// Serve answers at two sockets, which it owns: a datagram socket, and a stream socket
// that listens. Until it is configured it knows no name.
func Serve(set *epoll.Set, t *Tables, h *Host, udp, tcp int) (*Server, error) {
	s := &Server{tables: t, host: h}
	s.now.Store(&settings{view: &View{Isolated: true}})
	unix.SetNonblock(udp, true)
	unix.SetNonblock(tcp, true)
	unix.SetsockoptInt(udp, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, received)
	var err error
	if s.udp, err = set.Add(udp, s.readDatagrams); err != nil {
		unix.Close(tcp)
		return nil, err
	}
	if s.tcp, err = set.Add(tcp, s.accept); err != nil {
		s.udp.Close()
		return nil, err
	}
	return s, nil
}

// Configure changes what is answered from now on. It changes nothing and returns false
// if there are Servers and no namespace to ask them from. One Configure at a time.
func (s *Server) Configure(r Resolver) bool {
	n := &settings{view: r.View.canonical(), netns: r.NetNS}
	own := netip.AddrFrom4([4]byte{127, 0, 0, 11})
	for _, a := range r.Servers {
		if a.Addr() != own && len(n.servers) < maxServers { // asking ourselves would have no end
			n.servers = append(n.servers, &server{addr: a})
		}
	}
	old := s.now.Load().netns
	switch {
	case len(n.servers) == 0: // it needs none
		if n.netns != nil {
			n.netns.Close()
		}
		n.netns = nil
	case n.netns == nil && old == nil:
		return false
	case n.netns == nil:
		n.netns = old
	}
	s.now.Store(n)
	if old != nil && old != n.netns {
		old.Close()
	}
	return true
}

// Close closes the sockets and connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.udp.Close()
	s.tcp.Close()
	if now := s.now.Load(); now.netns != nil {
		now.netns.Close()
	}
}

// Sockets calls f with what a program that takes over needs.
func (s *Server) Sockets(f func(udp, tcp int, netns *os.File) error) error {
	return s.udp.Use(func(udp int) error {
		return s.tcp.Use(func(tcp int) error { return f(udp, tcp, s.now.Load().netns) })
	})
}

func (s *Server) readDatagrams(f *epoll.File) bool {
	in := queries.Get().(*[2 * maxQuery]byte)
	defer queries.Put(in)
	return f.Receive(in[:maxQuery], func(msg []byte, from unix.Sockaddr) {
		s.handle(msg, in[maxQuery:maxQuery], minUDP, func(reply []byte) {
			f.Use(func(fd int) error { return unix.Sendto(fd, reply, unix.MSG_DONTWAIT, from) })
		})
	})
}

// queries have room for a message, and for most answers.
var queries = sync.Pool{New: func() any { return new([2 * maxQuery]byte) }}

// handle answers msg, at once or when somebody else has. The answer is written into to if
// it fits. false: there will be none.
func (s *Server) handle(msg, to []byte, limit int, reply func([]byte)) bool {
	now := s.now.Load()
	answer, forward := now.view.Answer(s.tables, to, msg, limit)
	if answer != nil {
		reply(answer)
	}
	if forward {
		s.forward(now, msg, to, limit == maxTCP, reply)
	}
	return answer != nil || forward
}

func (s *Server) forward(now *settings, msg, to []byte, tcp bool, reply func([]byte)) {
	servers, netns := now.servers, now.netns
	if len(servers) == 0 {
		if now.view.Isolated {
			reply(Fail(to, msg, dnsmessage.RCodeServerFailure)) // as dockerd: nothing is known of the name
			return
		}
		servers, netns = s.host.get(), nil
	}
	if !s.ask() {
		reply(Fail(to, msg, dnsmessage.RCodeServerFailure))
		return
	}
	msg = append([]byte(nil), msg...)
	go func() {
		defer s.answered()
		answer, err := exchange(servers, netns, msg, tcp)
		if err != nil {
			answer = Fail(nil, msg, dnsmessage.RCodeServerFailure)
		}
		reply(answer)
	}()
}

// ask takes a place among the questions that others are asked.
func (s *Server) ask() bool {
	if s.asked.Add(1) <= maxAsked && s.host.room.enter() {
		return true
	}
	s.asked.Add(-1)
	return false
}

func (s *Server) answered() {
	s.asked.Add(-1)
	s.host.room.leave()
}

func (s *Server) accept(f *epoll.File) bool {
	return f.Accept(func(fd int) {
		c := os.NewFile(uintptr(fd), "dns")
		if s.enter(c) {
			go s.converse(c)
		} else {
			c.Close()
		}
	})
}

// enter counts a connection, if there is room for it.
func (s *Server) enter(c *os.File) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConns || !s.host.room.enter() {
		return false
	}
	if s.conns == nil {
		s.conns = map[*os.File]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

// converse answers the queries of a connection, each when its answer is there (RFC 7766,
// 6.2.1.1), until the client has no more.
func (s *Server) converse(c *os.File) {
	var mu sync.Mutex // over what is written
	var open sync.WaitGroup
	defer func() {
		open.Wait()
		c.Close()
		s.host.room.leave()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	for {
		c.SetReadDeadline(time.Now().Add(idleConn))
		msg, err := readMessage(c)
		if err != nil || len(msg) < 12 {
			return
		}
		open.Add(1)
		will := s.handle(msg, nil, maxTCP, func(reply []byte) {
			defer open.Done()
			mu.Lock()
			defer mu.Unlock()
			c.SetWriteDeadline(time.Now().Add(idleConn))
			writeMessage(c, reply)
		})
		if !will {
			open.Done()
		}
	}
}

func writeMessage(w io.Writer, msg []byte) {
	out := make([]byte, 0, 2+len(msg))
	out = binary.BigEndian.AppendUint16(out, uint16(len(msg)))
	w.Write(append(out, msg...))
}
