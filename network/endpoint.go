package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"hoy/keeper"
	"hoy/lib/cleanup"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/netlink"
)

// addresses are those of the endpoint that the network gave it.
func (e *Endpoint) addresses() (l []netip.Prefix) {
	for _, a := range []netip.Prefix{e.Address, e.Address6} {
		if a.IsValid() {
			l = append(l, a)
		}
	}
	return l
}

// endpoint makes a container's place in a network: addresses, and a link in the namespace,
// which has links called names already. drop takes both back.
func (n *Networks) endpoint(s *segment, r EndpointRequest, ns *os.File, names []string, evict func(*segment, netip.Addr) bool) (_ *Endpoint, drop func(), err error) {
	index, err := n.indexOf(s)
	if err != nil {
		return nil, nil, err
	}
	e := &Endpoint{Network: s.Name, NetworkID: s.ID, EndpointID: newID(), Driver: s.Driver, LinkLocal: r.LinkLocal, MAC: r.MAC, Names: r.Names, Priority: r.Priority}
	var undo cleanup.Stack
	defer undo.Run()
	if e.Address, e.Gateway, err = s.claim(false, r.IPv4, evict); err == nil {
		undo.Add(func() { s.releaseIf(e.Address) })
		e.Address6, e.Gateway6, err = s.claim(true, r.IPv6, evict)
		undo.Add(func() { s.releaseIf(e.Address6) })
	}
	if err != nil {
		return nil, nil, err
	}
	if e.MAC == nil && s.Driver != "ipvlan" && len(e.addresses()) > 0 {
		e.MAC = randomMAC()
	}
	if e.Interface, err = interfaceName(r.Options[ifnameOption], s.prefix, names); err != nil {
		return nil, nil, err
	}
	sysctls, err := endpointSysctls(r.Options[sysctlsOption], e.Interface)
	if err != nil {
		return nil, nil, err
	}
	if r.NoIPv6 || sysctls["net/ipv6/conf/"+e.Interface+"/disable_ipv6"] == "1" {
		s.releaseIf(e.Address6)
		e.Address6, e.Gateway6 = netip.Prefix{}, netip.Addr{}
	}
	link := n.linkOf(s, e, ns, index)
	link.Sysctls = sysctls
	for _, a := range r.LinkLocal {
		bits := 16
		if a.Is6() {
			bits = 64
		}
		link.Addresses = append(link.Addresses, netip.PrefixFrom(a, bits))
	}
	if len(names) == 0 {
		link.Gateway, link.Gateway6 = e.Gateway, e.Gateway6
	}
	if err := failpoint.Hit(failpoint.NetworkAddressed); err != nil {
		return nil, nil, err
	}
	if err := n.addLink(s, link); err != nil {
		return nil, nil, err
	}
	undo.Add(func() { n.warn("remove a container's link", link.Remove()) })
	if err := failpoint.Hit(failpoint.NetworkLinked); err != nil {
		return nil, nil, err
	}
	undo.Release()
	return e, func() { n.warn("remove a container's link", link.Remove()); n.giveBack(s, e) }, nil
}

// addLink adds an endpoint's link. Where the network's own has been deleted by somebody
// it is made again first, or taken if somebody has done that too: another engine with the
// same bridge.
func (n *Networks) addLink(s *segment, link *netlink.Link) error {
	err := link.Add()
	if index, lost := netlink.Index(s.Link); err == nil || lost == nil && index == link.Parent {
		return err
	}
	n.opts.Log.Warn("somebody has deleted the link of a network: it is made again", "network", s.Name, "link", s.Link)
	n.mu.Lock()
	s.index = 0
	n.mu.Unlock()
	index, err := n.indexOf(s)
	if err != nil {
		return err
	}
	n.plug(s)
	link.Parent = index
	return link.Add()
}

// plug makes the links of a network's containers ports of its bridge again, where that was
// deleted by somebody: the links were not.
func (n *Networks) plug(s *segment) {
	if s.Driver != "bridge" {
		return
	}
	n.mu.Lock()
	index := s.index
	var links []string
	for _, m := range n.attached {
		for _, e := range m.now.Endpoints {
			if e.NetworkID == s.ID && e.Link != "" {
				links = append(links, e.Link)
			}
		}
	}
	n.mu.Unlock()
	ports, err := netlink.Ports(index)
	n.warn("list the ports of a bridge", err)
	for _, l := range links {
		if err == nil && !slices.Contains(ports, l) {
			n.warn("connect a container again", netlink.Plug(l, index, s.hairpin()))
		}
	}
}

// linkOf describes the link of an endpoint.
func (n *Networks) linkOf(s *segment, e *Endpoint, ns *os.File, index int) *netlink.Link {
	link := &netlink.Link{Kind: netlink.Veth, Name: e.Interface, Parent: index, Namespace: ns, MAC: e.MAC, MTU: s.mtu, Addresses: e.addresses()}
	switch s.Driver {
	case "bridge":
		e.Link = "veth" + e.EndpointID[:7]
		link.Host = e.Link
		link.Hairpin = s.hairpin()
	case "macvlan":
		link.Kind, link.Mode = netlink.Macvlan, macvlanModes[s.submode]
	case "ipvlan":
		link.Kind, link.Mode, link.Flag = netlink.Ipvlan, ipvlanModes[s.submode], ipvlanFlags[s.flag]
	}
	return link
}

// hairpin tells whether a bridge must be able to send what came by a port back to it.
func (s *segment) hairpin() bool { return s.noICC || bridgedFiltered() }

// bridgedFiltered tells whether the packet filter sees what passes within a bridge. Then a
// container's packet to its own published port is translated inside of the bridge, which
// by itself sends nothing back where it came from.
func bridgedFiltered() bool {
	b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && len(b) > 0 && b[0] == '1'
}

// The kernel's numbers of modes (linux/if_link.h).
var (
	macvlanModes = map[string]uint16{"private": 1, "vepa": 2, "": 4, "bridge": 4, "passthru": 8}
	ipvlanModes  = map[string]uint16{"": 0, "l2": 0, "l3": 1, "l3s": 2}
	ipvlanFlags  = map[string]uint16{"": 0, "bridge": 0, "private": 1, "vepa": 2}
)

// interfaceName returns the name of a container's next link: the one asked for, or the
// first free one with the prefix.
func interfaceName(asked, prefix string, names []string) (string, error) {
	if asked != "" {
		if err := validLink(asked); err != nil {
			return "", fault.As(fault.Invalid, err)
		}
		if slices.Contains(names, asked) {
			return "", fault.New(fault.Conflict, "error renaming interface to %q: file exists: the container has a link of this name", asked)
		}
		return asked, nil
	}
	if prefix == "" {
		prefix = "eth"
	}
	for i := 0; ; i++ {
		if name := prefix + strconv.Itoa(i); !slices.Contains(names, name) {
			return name, nil
		}
	}
}

// indexOf returns the index of the network's link, which is brought up again if that has
// failed before. What is made to be kept ready may come when the network is gone.
func (n *Networks) indexOf(s *segment) (int, error) {
	n.mu.Lock()
	index := s.index
	n.mu.Unlock()
	if index != 0 {
		return index, nil
	}
	n.changing.Lock()
	defer n.changing.Unlock()
	n.mu.Lock()
	there := n.segments[s.ID] == s && !s.gone
	n.mu.Unlock()
	if !there {
		return 0, fault.New(fault.NotFound, "network %s not found", s.Name)
	}
	if err := n.bringUp(s); err != nil {
		return 0, fmt.Errorf("cannot bring network %s up: %w", s.Name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return s.index, nil
}

// evict gives up an endpoint that is kept ready, for its address.
func (n *Networks) evict(s *segment, want netip.Addr) bool {
	n.mu.Lock()
	p := s.ready
	n.mu.Unlock()
	return p != nil && p.evict(func(p *prepared) bool { return !want.IsValid() || p.endpoint.has(want) })
}

// never evicts nothing. It is for what is made to be kept ready itself.
func never(*segment, netip.Addr) bool { return false }

func (s *segment) releaseIf(p netip.Prefix) {
	if p.IsValid() {
		s.release(p.Addr())
	}
}

// giveBack gives the endpoint's addresses back.
func (n *Networks) giveBack(s *segment, e *Endpoint) {
	s.releaseIf(e.Address)
	s.releaseIf(e.Address6)
}

// ways are the default routes of a container with these endpoints. Those of docker's rule:
// of the highest priority, then of that with both IPv4 and IPv6, then of the first name.
func (n *Networks) ways(endpoints []Endpoint) (ways []netlink.Via) {
	e4, e6 := gateways(endpoints)
	if e4 != nil {
		ways = append(ways, netlink.Via{Link: e4.Interface, Gateway: e4.Gateway})
	}
	if e6 != nil {
		ways = append(ways, netlink.Via{Link: e6.Interface, Gateway: e6.Gateway6})
	}
	return ways
}

// inOrder returns the endpoints as docker's rule orders them (ways).
func inOrder(endpoints []Endpoint) []Endpoint {
	count := func(e *Endpoint) (n int) {
		for _, g := range []netip.Addr{e.Gateway, e.Gateway6} {
			if g.IsValid() {
				n++
			}
		}
		return n
	}
	sorted := slices.Clone(endpoints)
	slices.SortStableFunc(sorted, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(count(&b), count(&a)), cmp.Compare(a.Network, b.Network))
	})
	return sorted
}

// gateways returns the endpoints by which IPv4 and IPv6 leave the container; nil: none.
func gateways(endpoints []Endpoint) (e4, e6 *Endpoint) {
	sorted := inOrder(endpoints)
	for i := range sorted {
		e := &sorted[i]
		if e4 == nil && e.Gateway.IsValid() {
			e4 = e
		}
		if e6 == nil && e.Gateway6.IsValid() {
			e6 = e
		}
	}
	return e4, e6
}

// entries is what the keeper needs to know of an endpoint for its names.
func entries(containerID string, e Endpoint) []keeper.NameEntry {
	entry := keeper.NameEntry{Container: containerID, Names: e.Names}
	for _, a := range e.addresses() {
		entry.Addresses = append(entry.Addresses, a.Addr())
	}
	return []keeper.NameEntry{entry}
}
