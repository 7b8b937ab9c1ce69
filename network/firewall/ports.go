package firewall

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/nft"
)

// protocols that have ports, by docker's names.
var protocols = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}

// Publish sends what comes to ports of the host to containers. A port that leads
// elsewhere already leads to the new container afterwards; what the kernel remembers of
// the former one is forgotten, so that UDP, too, comes to the new one at once.
//
// A port whose host address is IPv6 and whose container's is IPv4 has no rule: the
// kernel does not translate between them. The keeper's socket answers there.
func (f *Firewall) Publish(ports ...Port) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.next()
	var b nft.Batch
	var old []Port
	for _, p := range ports {
		if protocols[p.Proto] == 0 {
			return fault.New(fault.Invalid, "cannot publish a port of protocol %q: use tcp, udp or sctp", p.Proto)
		}
		if f.bare(p.Container.Addr()) {
			continue
		}
		k := s.key(p)
		if was, ok := s.ports[k]; ok {
			if was == p {
				continue
			}
			old = append(old, was)
			s.withdraw(&b, f.opts.Table, was)
		}
		s.ports[k] = p
		for _, m := range s.places(p) {
			b.Add(f.opts.Table, m.set, m.element)
		}
	}
	kept := f.flows.keep(ports)
	if err := f.change(&b, s); err != nil {
		f.flows.forget(kept, nil)
		return err
	}
	f.flows.forget(old, ports)
	return nil
}

// Unpublish takes ports back, and cuts the connections that go by them; ports that are
// not published, or lead elsewhere by now, are no error.
func (f *Firewall) Unpublish(ports ...Port) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.next()
	var b nft.Batch
	var old []Port
	for _, p := range ports {
		k := s.key(p)
		if s.ports[k] != p {
			continue
		}
		old = append(old, p)
		s.withdraw(&b, f.opts.Table, p)
		delete(s.ports, k)
	}
	if len(old) == 0 {
		return nil
	}
	if err := f.change(&b, s); err != nil {
		return err
	}
	f.flows.forget(old, nil)
	return nil
}

// Ports returns what is published, by protocol, address and port.
func (f *Firewall) Ports() []Port {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state()
	var ports []Port
	for _, k := range s.sortedPorts() {
		ports = append(ports, s.ports[k])
	}
	return ports
}

func (s state) sortedPorts() []hostPort {
	return slices.SortedFunc(maps.Keys(s.ports), func(a, b hostPort) int {
		p, q := s.ports[a], s.ports[b]
		return cmp.Or(p.Host.Compare(q.Host), cmp.Compare(p.Proto, q.Proto), p.Container.Compare(q.Container))
	})
}

// routed says whether packets go to the container's own address, not to the host's.
func (s state) routed(p Port) bool {
	n := s.networks[p.Link]
	if p.Host.Addr().Is4() != p.Container.Addr().Is4() {
		return false
	}
	if p.Container.Addr().Is4() {
		return n.Mode == Routed
	}
	return n.Mode6 == Routed
}

func (s state) key(p Port) hostPort {
	if s.routed(p) {
		return hostPort{p.Proto, p.Link + " " + p.Container.String()}
	}
	return hostPort{p.Proto, p.Host.String()}
}

// place is an element that a published port is in the table.
type place struct {
	set     nft.Set
	element nft.Element
}

func (s state) places(p Port) []place {
	four := p.Container.Addr().Is4()
	proto, port := []byte{protocols[p.Proto]}, nft.Port(p.Host.Port())
	direct := place{open6, nft.Element{Key: nft.Key(p.Container.Addr().AsSlice(), proto, nft.Port(p.Container.Port()))}}
	if four {
		direct.set = open4
	}
	if s.routed(p) {
		return []place{direct}
	}
	if p.Host.Addr().Is4() != four {
		return nil
	}
	value := nft.Key(p.Container.Addr().AsSlice(), nft.Port(p.Container.Port()))
	var at place
	if any := p.Host.Addr().IsUnspecified(); any {
		at = place{published6, nft.Element{Key: nft.Key(proto, port), Value: value}}
		if four {
			at.set = published4
		}
	} else {
		at = place{published6At, nft.Element{Key: nft.Key(p.Host.Addr().AsSlice(), proto, port), Value: value}}
		if four {
			at.set = published4At
		}
	}
	places := []place{at}
	if s.networks[p.Link].Unguarded {
		places = append(places, place{unguarded, nft.Element{Key: nft.Key(proto, port)}})
	}
	if n := s.networks[p.Link]; n.Direct || len(n.Trusted) > 0 {
		places = append(places, direct)
	}
	return places
}

// withdraw removes a port's elements from the table, but those that another port of s has
// as well: an unguarded port's says neither address nor family, and a trusted link's
// nothing of the host.
func (s state) withdraw(b *nft.Batch, table string, p Port) {
	for i, m := range s.places(p) {
		if i > 0 && s.another(p, m) {
			continue
		}
		b.Remove(table, m.set, m.element)
	}
}

func (s state) another(p Port, m place) bool {
	same := func(o place) bool { return o.set.Name == m.set.Name && bytes.Equal(o.element.Key, m.element.Key) }
	for _, q := range s.ports {
		near := q.Host.Port() == p.Host.Port() || q.Container == p.Container // for others their places need not be looked at
		if near && q != p && q.Proto == p.Proto && slices.ContainsFunc(s.places(q), same) {
			return true
		}
	}
	return false
}

// covers says whether packets to an address of the host come by the port.
func (p Port) covers(a netip.Addr) bool {
	h := p.Host.Addr()
	return h == a || h.IsUnspecified() && h.Is4() == a.Is4()
}
