package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/network/firewall"
	"hoy/network/hostports"
)

// Publish publishes more ports of a running container, and takes others back. What of
// remove is not published is no error.
func (n *Networks) Publish(ctx context.Context, containerID string, add, remove []PortRequest) (s *Sandbox, err error) {
	err = n.retry(func() (err error) {
		s, err = n.publishOnce(ctx, containerID, add, remove)
		return err
	})
	return s, err
}

func (n *Networks) publishOnce(ctx context.Context, containerID string, add, remove []PortRequest) (_ *Sandbox, err error) {
	c, end, err := n.begin(ctx, containerID, nil)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	if c.s.Mode != "" {
		return nil, fault.New(fault.Invalid, "cannot publish ports of a container on network %s", c.s.Mode)
	}
	c.s.Publish = slices.DeleteFunc(slices.Clone(c.s.Publish), func(r PortRequest) bool { return slices.Contains(remove, r) })
	c.s.Publish = append(c.s.Publish, add...)
	if err := c.publish(); err != nil {
		return nil, err
	}
	return c.s, nil
}

// publish makes the published ports those that are asked for, at the container's present
// addresses: host ports that it has already stay.
func (c *change) publish() error {
	defer c.closeFiles()
	p := c.placing()
	for _, like := range p.alike(c.s.Publish) {
		if err := p.publish(like...); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		do    func() error
		point failpoint.Point
	}{{func() error { return nil }, failpoint.NetworkReserved}, {c.hold, failpoint.NetworkHeld}, {c.forward, failpoint.NetworkForwarded}} {
		err := step.do()
		if err == nil {
			err = failpoint.Hit(step.point)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range p.left() {
		c.done = append(c.done, func() { c.n.ports.Release(f.proto, f.host) })
	}
	return nil
}

// forward tells the firewall what has changed.
func (c *change) forward() error {
	was, is := forwarded(c.was.Ports), forwarded(c.s.Ports)
	remove, add := without(was, is), without(is, was)
	fw := c.n.firewall
	if len(remove) > 0 {
		if err := fw.Unpublish(remove...); err != nil {
			return err
		}
		c.undo.Add(func() { c.n.warn("publish ports again", fw.Publish(remove...)) })
	}
	if len(add) > 0 {
		if err := fw.Publish(add...); err != nil {
			return err
		}
		c.undo.Add(func() { c.n.warn("take back published ports", fw.Unpublish(add...)) })
	}
	return nil
}

// without returns those of ports that are not among others.
func without(ports, others []firewall.Port) []firewall.Port {
	there := map[firewall.Port]bool{}
	for _, p := range others {
		there[p] = true
	}
	return slices.DeleteFunc(slices.Clone(ports), func(p firewall.Port) bool { return there[p] })
}

// forwarded are the ports that the kernel can forward. Those of which host and container
// have different kinds of addresses are the keeper's.
func forwarded(ports []firewall.Port) []firewall.Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p firewall.Port) bool { return p.Host.Addr().Is4() != p.Container.Addr().Is4() })
}

// onHost are the ports that take one of the host's. Those of a routed network do not: they
// are reached at the container's own address.
func onHost(ports []firewall.Port) []firewall.Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p firewall.Port) bool { return p.Host.Port() == 0 })
}

// way is from an address of the host to a container's on a bridge.
type way struct {
	host netip.Addr
	link string
	to   netip.Addr
}

// translated are the ways by which a published port's packets are: to the bridge networks
// of the default routes.
func (c *change) translated(r PortRequest) (all []way) {
	e4, e6 := gateways(c.s.Endpoints)
	if s := c.bridge(e4); s != nil && s.mode != firewall.Routed {
		if host, ok := c.hostAddress(r, s, false); ok {
			all = append(all, way{host, s.Link, e4.Address.Addr()})
		}
	}
	if e6 == nil {
		e6 = e4 // the keeper forwards from IPv6 to IPv4
	}
	if s := c.bridge(e6); s != nil && s.mode6 != firewall.Routed {
		to := e6.Address6
		if !to.IsValid() {
			to = e6.Address
		}
		if host, ok := c.hostAddress(r, s, true); ok {
			all = append(all, way{host, s.Link, to.Addr()})
		}
	}
	return all
}

// routed opens a port of the container on every network that is routed to, whichever the
// default route's is.
func (c *change) routed(r PortRequest) (ports []firewall.Port) {
	for _, e := range inOrder(c.s.Endpoints) {
		s := c.bridge(&e)
		if s == nil || s.Internal {
			continue
		}
		for _, a := range e.addresses() {
			v6 := a.Addr().Is6()
			mode, every := s.mode, netip.IPv4Unspecified()
			if v6 {
				mode, every = s.mode6, netip.IPv6Unspecified()
			}
			if _, asked := c.hostAddress(r, s, v6); asked && mode == firewall.Routed {
				ports = append(ports, firewall.Port{Proto: r.Proto, Host: netip.AddrPortFrom(every, 0), Link: s.Link, Container: netip.AddrPortFrom(a.Addr(), r.Container)})
			}
		}
	}
	return ports
}

func (c *change) segment(e *Endpoint) *segment {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.n.segments[e.NetworkID]
}

// bridge returns an endpoint's network if it is a bridge.
func (c *change) bridge(e *Endpoint) *segment {
	if e == nil || e.Driver != "bridge" {
		return nil
	}
	return c.segment(e)
}

// hostAddress is where of a family a port of a network is published: where it is asked
// for, or else where the network's are by default.
func (c *change) hostAddress(r PortRequest, s *segment, v6 bool) (at netip.Addr, ok bool) {
	at = r.HostIP
	if !at.IsValid() && s.bind != netip.IPv4Unspecified() {
		at = s.bind
	}
	if at.IsValid() {
		return at, at.Is6() == v6
	}
	i := slices.IndexFunc(c.n.anywhere, func(a netip.Addr) bool { return a.Is6() == v6 })
	if i < 0 {
		return at, false
	}
	return c.n.anywhere[i], true
}

// unpublished says in docker's words which endpoint's ports cannot be published.
func (c *change) unpublished(err error) error {
	e, e6 := gateways(c.s.Endpoints)
	if e == nil {
		e = e6
	}
	return fmt.Errorf("driver failed programming external connectivity on endpoint %s (%s): %w", c.s.Name, e.EndpointID, err)
}

// reserve takes over reserved ports of the host.
func (c *change) reserve(r hostports.Reserved) {
	c.reserved = append(c.reserved, r)
	for _, s := range r.Sockets {
		c.n.note(r.Proto, s)
		c.undo.Add(func() { c.n.ports.Release(r.Proto, s.Host) })
	}
}
