package network

import (
	"net/netip"
	"slices"

	"hoy/lib/fault"
	"hoy/network/firewall"
	"hoy/network/hostports"
)

// hostPort is a port of the host.
type hostPort struct {
	proto string
	host  netip.AddrPort
}

func hostPortOf(p firewall.Port) hostPort { return hostPort{p.Proto, p.Host} }

// placing chooses the ports of the host for what a container publishes, of which there may
// be thousands. Where a port is published already it stays.
type placing struct {
	c     *change
	held  map[hostPort]bool   // what the container had
	had   map[portAt][]uint16 // the same: its numbers
	taken map[hostPort]bool   // what it has got again, or anew
}

// portAt is a container's port as it is published at an address of the host.
type portAt struct {
	proto     string
	container uint16
	host      netip.Addr
}

// placing begins to publish anew what the container has published.
func (c *change) placing() *placing {
	p := &placing{c: c, held: map[hostPort]bool{}, had: map[portAt][]uint16{}, taken: map[hostPort]bool{}}
	for _, h := range onHost(c.s.Ports) {
		at := portAt{h.Proto, h.Container.Port(), h.Host.Addr()}
		p.held[hostPortOf(h)] = true
		p.had[at] = append(p.had[at], h.Host.Port())
	}
	c.s.Ports = nil
	return p
}

// left are the ports of the host that the container has no longer.
func (p *placing) left() (all []hostPort) {
	for h := range p.held {
		if !p.taken[h] {
			all = append(all, h)
		}
	}
	return all
}

// alike puts those requests together that differ in the host's address alone and leave the
// number open: they get the same one, as dockerd gives it to them, so that a name that
// stands for both addresses leads to the container by either. What has a number already
// keeps that.
func (p *placing) alike(requests []PortRequest) (all [][]PortRequest) {
	at := map[PortRequest]int{}
	for _, r := range requests {
		open := r.HostIP.IsValid() && (r.First == 0 || r.First < r.Last) && p.number(r, p.c.translated(r)) == 0
		key := r
		key.HostIP = netip.Addr{}
		i, others := at[key]
		if open && others && !slices.ContainsFunc(all[i], func(o PortRequest) bool { return hostports.Collide(o.HostIP, r.HostIP) }) {
			all[i] = append(all[i], r)
			continue
		}
		if open {
			at[key] = len(all)
		}
		all = append(all, []PortRequest{r})
	}
	return all
}

// publish publishes a port by requests that are alike.
func (p *placing) publish(requests ...PortRequest) error {
	c, r := p.c, requests[0]
	var ways []way
	for _, r := range requests {
		ways = append(ways, c.translated(r)...)
	}
	if len(ways) > 0 {
		if r.Proto == "sctp" && slices.ContainsFunc(ways, func(w way) bool { return c.n.bare(w.to.Is6()) }) {
			return c.unpublished(fault.New(fault.Invalid, "the keeper forwards no SCTP, and the engine makes no rules (--iptables=false or --ip6tables=false)"))
		}
		number, err := p.reserve(r, ways)
		if err != nil {
			return err
		}
		for _, w := range ways {
			port := firewall.Port{Proto: r.Proto, Host: netip.AddrPortFrom(w.host, number), Link: w.link, Container: netip.AddrPortFrom(w.to, r.Container)}
			p.taken[hostPortOf(port)] = true
			c.s.Ports = append(c.s.Ports, port)
		}
	}
	for _, r := range requests {
		c.s.Ports = append(c.s.Ports, c.routed(r)...)
	}
	return nil
}

// reserve chooses the host's port, and reserves it where it is not held already.
func (p *placing) reserve(r PortRequest, ways []way) (uint16, error) {
	number := p.number(r, ways)
	want := hostports.Wanted{Proto: r.Proto, First: r.First, Last: r.Last}
	if number != 0 {
		want.First, want.Last = number, number
	}
	for _, w := range ways {
		if number == 0 || !p.held[hostPort{r.Proto, netip.AddrPortFrom(w.host, number)}] {
			want.Hosts = append(want.Hosts, w.host)
		}
	}
	if len(want.Hosts) == 0 {
		return number, nil
	}
	got, err := p.c.n.ports.Reserve(p.c.ctx, want)
	if err != nil {
		return 0, p.c.unpublished(err)
	}
	p.c.reserve(got[0])
	return got[0].Port, nil
}

// number returns the number by which a port is published already; 0: by none. Another
// request of the same port of the container may have more than one.
func (p *placing) number(r PortRequest, ways []way) uint16 {
	for _, w := range ways {
		for _, n := range p.had[portAt{r.Proto, r.Container, w.host}] {
			if !p.taken[hostPort{r.Proto, netip.AddrPortFrom(w.host, n)}] && (r.First == 0 || r.First <= n && n <= r.Last) {
				return n
			}
		}
	}
	return 0
}
