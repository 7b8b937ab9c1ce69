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
	held := c.s.Ports
	c.s.Ports = nil
	for _, r := range c.s.Publish {
		if err := c.port(r, held); err != nil {
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
	for _, p := range held {
		if !isHeld(c.s.Ports, p.Proto, p.Host) {
			c.done = append(c.done, func() { c.n.ports.Release(p.Proto, p.Host) })
		}
	}
	return nil
}

// forward tells the firewall what has changed.
func (c *change) forward() error {
	was, is := forwarded(c.was.Ports), forwarded(c.s.Ports)
	remove := slices.DeleteFunc(slices.Clone(was), func(p firewall.Port) bool { return slices.Contains(is, p) })
	add := slices.DeleteFunc(slices.Clone(is), func(p firewall.Port) bool { return slices.Contains(was, p) })
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

// forwarded are the ports that the kernel can forward. Those of which host and container
// have different kinds of addresses are the keeper's.
func forwarded(ports []firewall.Port) []firewall.Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p firewall.Port) bool { return p.Host.Addr().Is4() != p.Container.Addr().Is4() })
}

// target is where a published port leads.
type target struct {
	link    string // the bridge
	address netip.Addr
}

// targets returns where published IPv4 and IPv6 ports lead: to the bridge networks of the
// default routes.
func (c *change) targets() (t4, t6 target) {
	e4, e6 := gateways(c.s.Endpoints)
	if e4 != nil && e4.Driver == "bridge" {
		t4 = target{c.bridge(e4), e4.Address.Addr()}
	}
	if e6 != nil && e6.Driver == "bridge" {
		t6 = target{c.bridge(e6), e6.Address6.Addr()}
	}
	return t4, t6
}

func (c *change) segment(e *Endpoint) *segment {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.n.segments[e.NetworkID]
}

func (c *change) bridge(e *Endpoint) string {
	if s := c.segment(e); s != nil {
		return s.Link
	}
	return ""
}

// hostAddresses are where a port is published.
func (c *change) hostAddresses(r PortRequest, t4, t6 target) (at []netip.Addr) {
	host := r.HostIP
	if e4, _ := gateways(c.s.Endpoints); !host.IsValid() && e4 != nil {
		if s := c.segment(e4); s != nil && s.bind.IsValid() && !s.bind.IsUnspecified() {
			host = s.bind
		}
	}
	asked := []netip.Addr{host}
	if !host.IsValid() {
		asked = c.n.anywhere
	}
	for _, a := range asked {
		if a.Is4() && t4.address.IsValid() || a.Is6() && (t6.address.IsValid() || t4.address.IsValid()) {
			at = append(at, a)
		}
	}
	return at
}

// port publishes one port. Where it is published already it stays.
func (c *change) port(r PortRequest, held []firewall.Port) error {
	t4, t6 := c.targets()
	want := hostports.Wanted{Proto: r.Proto, First: r.First, Last: r.Last}
	at := c.hostAddresses(r, t4, t6)
	number := heldPort(r, at, held)
	if number != 0 {
		want.First, want.Last = number, number
	}
	for _, a := range at {
		if number == 0 || !isHeld(held, r.Proto, netip.AddrPortFrom(a, number)) {
			want.Hosts = append(want.Hosts, a)
		}
	}
	if len(want.Hosts) > 0 {
		got, err := c.n.ports.Reserve(c.ctx, want)
		if err != nil {
			return c.unpublished(err)
		}
		c.reserve(got[0])
		number = got[0].Port
	}
	for _, a := range at {
		to := t4 // of an IPv6 address, too, where the container has none: the keeper forwards
		if a.Is6() && t6.address.IsValid() {
			to = t6
		}
		c.s.Ports = append(c.s.Ports, firewall.Port{Proto: r.Proto, Host: netip.AddrPortFrom(a, number), Link: to.link, Container: netip.AddrPortFrom(to.address, r.Container)})
	}
	return nil
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

// heldPort returns the number by which a port is published already; 0: by none. Another
// request of the same port of the container may have more than one.
func heldPort(r PortRequest, at []netip.Addr, held []firewall.Port) uint16 {
	for _, h := range held {
		if h.Proto == r.Proto && h.Container.Port() == r.Container && slices.Contains(at, h.Host.Addr()) &&
			(r.First == 0 || r.First <= h.Host.Port() && h.Host.Port() <= r.Last) {
			return h.Host.Port()
		}
	}
	return 0
}

func isHeld(ports []firewall.Port, proto string, host netip.AddrPort) bool {
	return slices.ContainsFunc(ports, func(p firewall.Port) bool { return p.Proto == proto && p.Host == host })
}
