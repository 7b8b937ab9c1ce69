package firewall

import (
	"encoding/binary"
	"net/netip"

	"hoy/linux/nft"
)

// former returns the ports that an engine before has left in the table and that are not
// published in next: their containers have ended while there was no engine. What the kernel
// remembers of them would lead to whoever gets their addresses. The ports' links are not
// known.
func (f *Firewall) former(next state) []Port {
	type flow struct{ proto, host, container string }
	flowOf := func(p Port) flow {
		if next.routed(p) || p.Host.Port() == 0 {
			return flow{p.Proto, "", p.Container.String()}
		}
		return flow{p.Proto, p.Host.String(), p.Container.String()}
	}
	stays := map[flow]bool{}
	for _, p := range next.ports {
		stays[flowOf(p)] = true
		stays[flow{p.Proto, "", p.Container.String()}] = true
	}
	var gone []Port
	sets := []nft.Set{published4, published4At, published6, published6At, open4, open6}
	elements, err := nft.Elements(f.opts.Table, sets...)
	if err != nil {
		f.opts.Log.Warn("cannot tell which ports an engine before has published", "err", err)
	}
	for _, s := range sets {
		for _, e := range elements[s.Name] {
			if p, ok := portOf(s, e); ok && !stays[flowOf(p)] {
				gone = append(gone, p)
			}
		}
	}
	return gone
}

// portOf reads a port as places writes it; of open4 and open6 it is one that is routed.
func portOf(s nft.Set, e nft.Element) (p Port, ok bool) {
	size, any := 4, netip.IPv4Unspecified()
	if s.Name == published6.Name || s.Name == published6At.Name || s.Name == open6.Name {
		size, any = 16, netip.IPv6Unspecified()
	}
	at := func(b []byte) (netip.AddrPort, bool) {
		a, ok := netip.AddrFromSlice(b[:size])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[len(b)-4:])), ok
	}
	key := e.Key
	if s.Name == published4.Name || s.Name == published6.Name {
		key = nft.Key(any.AsSlice(), key)
	}
	routed := s.Data.Name == ""
	if len(key) != size+8 || !routed && len(e.Value) != size+4 {
		return p, false
	}
	if p.Host, ok = at(key); !ok {
		return p, false
	}
	for name, number := range protocols {
		if number == key[size] {
			p.Proto = name
		}
	}
	if routed {
		p.Host, p.Container = netip.AddrPortFrom(any, 0), p.Host
		return p, p.Proto != ""
	}
	p.Container, ok = at(e.Value)
	return p, ok && p.Proto != ""
}
