package names

import (
	"bytes"
	"net/netip"
)

// View is what of the names one container sees. Names are asked for in this order: Links,
// of all networks and of one that is named too, Networks from the first to the last, Hosts.
type View struct {
	Networks []string                `json:"networks,omitempty"` // ids
	Zones    map[string]string       `json:"zones,omitempty"`    // id of a network to its name: NAME.ZONE is known too
	Links    map[string]string       `json:"links,omitempty"`    // alias to a name of Networks
	Hosts    map[string][]netip.Addr `json:"hosts,omitempty"`    // names of its own
	Isolated bool                    `json:"isolated,omitempty"` // other names are not looked up, unless it has servers of its own
}

// canonical returns the view with names as they are looked up.
func (v View) canonical() *View {
	zones, links, hosts := v.Zones, v.Links, v.Hosts
	v.Zones, v.Links, v.Hosts = map[string]string{}, map[string]string{}, map[string][]netip.Addr{}
	for id, zone := range zones {
		v.Zones[id] = canonical(zone)
	}
	for alias, name := range links {
		v.Links[canonical(alias)] = canonical(name)
	}
	for name, as := range hosts {
		for _, a := range as {
			v.Hosts[canonical(name)] = append(v.Hosts[canonical(name)], a.Unmap())
		}
	}
	return &v
}

// families says which addresses are wanted.
type families struct{ v4, v6 bool }

func (f families) of(as []netip.Addr, to []netip.Addr) []netip.Addr {
	for _, a := range as {
		if a.Is4() && f.v4 || a.Is6() && f.v6 {
			to = append(to, a)
		}
	}
	return to
}

// addresses appends to to what name, in lower case and without a dot at the end, stands
// for: the addresses of all containers of that name in the first network that has wanted
// ones. A name that is there without such addresses is known nevertheless.
func (v *View) addresses(t *Tables, name []byte, want families, to []netip.Addr) (as []netip.Addr, known bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if target, ok := v.Links[string(name)]; ok {
		if as, known = v.inNetworks(t, []byte(target), want, to); known {
			return as, true
		}
	}
	for _, id := range v.Networks { // ALIAS.ZONE, as NAME.ZONE
		alias, ok := inZone(name, v.Zones[id])
		if target := v.Links[string(alias)]; ok && target != "" {
			one := View{Networks: []string{id}}
			if as, known = one.inNetworks(t, []byte(target), want, to); known {
				return as, true
			}
		}
	}
	if as, known = v.inNetworks(t, name, want, to); known {
		return as, true
	}
	own, known := v.Hosts[string(name)]
	return want.of(own, to), known
}

func (v *View) inNetworks(t *Tables, name []byte, want families, to []netip.Addr) (as []netip.Addr, known bool) {
	for _, id := range v.Networks {
		n := t.networks[id]
		if n == nil {
			continue
		}
		entries := n.names[string(name)]
		if host, ok := inZone(name, v.Zones[id]); ok && entries == nil {
			entries = n.names[string(host)]
		}
		for _, e := range entries {
			known = true
			to = want.of(e.Addresses, to)
		}
		if len(to) > 0 {
			break
		}
	}
	return to, known
}

// inZone returns the first part of name if the rest is zone.
func inZone(name []byte, zone string) (host []byte, ok bool) {
	if zone == "" || len(name) < len(zone)+2 || name[len(name)-len(zone)-1] != '.' || string(name[len(name)-len(zone):]) != zone {
		return nil, false
	}
	return name[:len(name)-len(zone)-1], true
}

// name returns the name of an address, "": it has none.
func (v *View) name(t *Tables, a netip.Addr) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, id := range v.Networks {
		n := t.networks[id]
		if n == nil || n.reverse[a] == nil || len(n.reverse[a].Names) == 0 {
			continue
		}
		if name, zone := n.reverse[a].Names[0], v.Zones[id]; zone != "" {
			return name + "." + zone
		} else {
			return name
		}
	}
	return ""
}

// reversed reads the name of a reverse look-up: 4.3.2.1.in-addr.arpa, or 32 digits and
// ip6.arpa (RFC 1035, 3.5; RFC 3596, 2.5).
func reversed(name []byte) (a netip.Addr, ok bool) {
	if digits, ok := bytes.CutSuffix(name, []byte(".in-addr.arpa")); ok {
		labels := bytes.Split(digits, []byte("."))
		if len(labels) != 4 {
			return a, false
		}
		labels[0], labels[1], labels[2], labels[3] = labels[3], labels[2], labels[1], labels[0]
		a, err := netip.ParseAddr(string(bytes.Join(labels, []byte("."))))
		return a, err == nil && a.Is4()
	}
	digits, ok := bytes.CutSuffix(name, []byte(".ip6.arpa"))
	if !ok || len(digits) != 63 {
		return a, false
	}
	var b [16]byte
	for i := range 32 {
		d := bytes.IndexByte([]byte("0123456789abcdef"), digits[2*i])
		if d < 0 || i < 31 && digits[2*i+1] != '.' {
			return a, false
		}
		b[15-i/2] |= byte(d) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
