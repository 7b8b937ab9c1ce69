// Package hostports reserves ports of the host for containers: it chooses their
// numbers, and holds them against other programs by sockets.
package hostports

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Wanted asks for one port of the host, at one or more of its addresses.
type Wanted struct {
	Proto       string       // tcp, udp or sctp
	Hosts       []netip.Addr // all get the same port; 0.0.0.0 and :: are every address of a family
	First, Last uint16       // the port, or the range of which the first free one is taken; 0: any free one
}

// Reserved is the answer to a Wanted.
type Reserved struct {
	Proto   string
	Port    uint16
	Sockets []Socket // one for each of Wanted.Hosts, in order
}

// Socket holds a port of the host at one address.
type Socket struct {
	Host netip.AddrPort
	File *os.File // bound, and listening if tcp or sctp; nil: the kernel lacks the protocol, see Warning
	// Warning says why there is no file: the port is then held against this engine's
	// containers, not against other programs.
	Warning string
}

// Close closes the sockets, of which the keeper has duplicates by then.
func (r Reserved) Close() {
	for _, s := range r.Sockets {
		s.File.Close() // on nil it only returns an error
	}
}

// Ports are the reservations of one engine. The zero value has none.
//
//	got, err := ports.Reserve(ctx, hostports.Wanted{Proto: "tcp", Hosts: hostports.Any(), First: 8080, Last: 8080})
//	... the keeper gets got[0].Sockets ...
//	got[0].Close()
//	...
//	ports.Release("tcp", addr)   // for each address, after the keeper has closed its socket
//
// An engine that finds a container running claims its ports instead (Claim): their
// sockets are with the keeper.
type Ports struct {
	mu    sync.Mutex
	taken map[string]map[uint16][]netip.Addr // by protocol
	last  map[last]uint16                    // the last one chosen, so that the next is another
}

type last struct {
	proto string
	host  netip.Addr
}

// allocated is the error for a port that another container has, in docker's words.
type allocated netip.AddrPort

func (a allocated) Error() string {
	return fmt.Sprintf("Bind for %s failed: port is already allocated", netip.AddrPort(a))
}

// Reserve chooses and holds all that is wanted, or nothing. Its errors are in docker's
// words: "Bind for 0.0.0.0:80 failed: port is already allocated" where another container
// has the port, "failed to bind host port 0.0.0.0:80/tcp: address already in use" where
// another program has it.
func (p *Ports) Reserve(ctx context.Context, wanted ...Wanted) (_ []Reserved, err error) {
	var got []Reserved
	defer func() {
		if err == nil {
			return
		}
		for _, r := range got {
			r.Close()
			for _, s := range r.Sockets {
				p.Release(r.Proto, s.Host)
			}
		}
	}()
	for _, w := range wanted {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		r, err := p.reserve(w)
		if err != nil {
			return nil, err
		}
		got = append(got, r)
	}
	return got, nil
}

// reserve tries the ports of a range in turn.
func (p *Ports) reserve(w Wanted) (Reserved, error) {
	if len(w.Hosts) == 0 {
		return Reserved{}, errors.New("no address of the host to reserve a port at")
	}
	c, err := p.candidates(w)
	if err != nil {
		return Reserved{}, err
	}
	refused := error(nil)
	for port := range c.all {
		if err := p.take(w, port); err != nil {
			if c.one {
				return Reserved{}, err
			}
			continue
		}
		r, err := bind(w, port)
		if err == nil {
			return r, nil
		}
		p.give(w, port)
		refused = err
		if !errors.Is(err, unix.EADDRINUSE) {
			break // another number changes nothing
		}
	}
	if refused == nil {
		refused = errors.New("all ports are allocated")
	}
	return Reserved{}, refused
}

// Claim notes that a port is held by the keeper already.
func (p *Ports) Claim(proto string, host netip.AddrPort) error {
	return p.take(Wanted{Proto: proto, Hosts: []netip.Addr{host.Addr()}}, host.Port())
}

// Again opens another socket for a port that is reserved, where the former is gone: it
// stays reserved all the time.
func Again(proto string, host netip.AddrPort) (Reserved, error) {
	return bind(Wanted{Proto: proto, Hosts: []netip.Addr{host.Addr()}}, host.Port())
}

// Release gives a port back; one that is not reserved is no error.
func (p *Ports) Release(proto string, host netip.AddrPort) {
	p.give(Wanted{Proto: proto, Hosts: []netip.Addr{host.Addr()}}, host.Port())
}

// take notes a port at all addresses, or at none.
func (p *Ports) take(w Wanted, port uint16) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == nil {
		p.taken, p.last = map[string]map[uint16][]netip.Addr{}, map[last]uint16{}
	}
	if p.taken[w.Proto] == nil {
		p.taken[w.Proto] = map[uint16][]netip.Addr{}
	}
	for _, h := range w.Hosts {
		for _, other := range p.taken[w.Proto][port] {
			if Collide(h, other) {
				return allocated(netip.AddrPortFrom(other, port))
			}
		}
	}
	p.taken[w.Proto][port] = append(p.taken[w.Proto][port], w.Hosts...)
	if w.First == 0 {
		p.last[last{w.Proto, w.Hosts[0]}] = port
	}
	return nil
}

func (p *Ports) give(w Wanted, port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []netip.Addr
	gone := map[netip.Addr]bool{}
	for _, h := range w.Hosts {
		gone[h] = true
	}
	for _, h := range p.taken[w.Proto][port] {
		if !gone[h] {
			rest = append(rest, h)
		}
	}
	if len(rest) > 0 {
		p.taken[w.Proto][port] = rest
	} else {
		delete(p.taken[w.Proto], port)
	}
}

// Collide says whether two addresses cannot have the same port.
func Collide(a, b netip.Addr) bool {
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}
