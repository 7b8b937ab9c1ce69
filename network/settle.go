package network

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"hoy/keeper"
	"hoy/linux/netlink"
	"hoy/network/firewall"
)

// Settle makes true what the records of adopted containers say, after an engine that may
// have been killed in the middle of a change: links that no record knows go, and what is
// missing of routes, sockets and rules comes back. A place in a network whose link is gone,
// or that is not there itself, is given up; Sandbox tells what is left. netns opens the
// network namespace of a running container. It is called after every Adopt and before Start.
func (n *Networks) Settle(ctx context.Context, netns func(containerID string) (*os.File, error)) {
	holds, err := n.releaseStrangers(ctx)
	n.warn("have the keeper give up what nobody needs", err)
	n.sweep()
	n.mu.Lock()
	var all []*member
	for _, m := range n.attached {
		if m.now.Mode != "host" {
			all = append(all, m)
		}
	}
	n.mu.Unlock()
	for i, m := range all {
		if err := n.settleOne(ctx, m, netns, holds[m.now.ContainerID], time.Duration(i)*apart); err != nil {
			n.opts.Log.Warn("cannot make sure of a container's networks", "container", m.now.ContainerID, "error", err)
		}
	}
}

// apart is the time between the announcements of adopted containers: each goes to all the
// others of its network.
const apart = 10 * time.Millisecond

// Sandbox returns how a container is attached now; nil: it is not.
func (n *Networks) Sandbox(containerID string) *Sandbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.attached[containerID]; m != nil {
		return m.now
	}
	return nil
}

// isOurs tells a link that an engine has made (linkOf) from others that somebody may have
// made ports of our bridges.
func isOurs(link string) bool {
	digits, ok := strings.CutPrefix(link, "veth")
	return ok && len(digits) == 7 && strings.Trim(digits, "0123456789abcdef") == ""
}

// sweep removes ports of our bridges that are no container's, and makes such of those that
// are. Those that were kept ready go by themselves, with their namespaces.
func (n *Networks) sweep() {
	n.mu.Lock()
	known := map[string]bool{}
	for _, m := range n.attached {
		for _, e := range m.now.Endpoints {
			known[e.Link] = true
		}
	}
	bridges := slices.DeleteFunc(n.all(), func(s *segment) bool { return s.Driver != "bridge" || s.index == 0 })
	n.mu.Unlock()
	for _, s := range bridges {
		n.plug(s)
		if !s.Made {
			continue
		}
		ports, err := netlink.Ports(s.index)
		n.warn("list the ports of a bridge", err)
		for _, p := range ports {
			if isOurs(p) && !known[p] {
				n.warn("remove a link that is no container's", netlink.DelLink(p))
			}
		}
	}
}

func (n *Networks) settleOne(ctx context.Context, m *member, netns func(string) (*os.File, error), held *keeper.HeldNetwork, turn time.Duration) error {
	m.op.Lock()
	defer m.op.Unlock()
	ns, err := netns(m.now.ContainerID)
	if err != nil {
		return err
	}
	defer ns.Close()
	links, err := netlink.Names(ns)
	if err != nil {
		return err
	}
	c := n.change(ctx, m)
	c.netNS = ns
	var lost []Endpoint
	c.s.Endpoints = slices.DeleteFunc(c.s.Endpoints, func(e Endpoint) bool {
		gone := c.segment(&e) == nil || e.Interface != "" && !slices.Contains(links, e.Interface) && !onHostStill(&e)
		if gone {
			lost = append(lost, e)
		}
		return gone
	})
	if err := n.settleRoutes(ns, c.s.Endpoints, lost); err != nil {
		return err
	}
	if len(lost) > 0 {
		c.republish()
	}
	if err := c.holdMissing(held); err != nil {
		return err
	}
	n.set(m, c.s)
	m.silence = append(m.silence, n.announce(ns, c.s.Endpoints, turn, 1))
	for _, e := range lost {
		n.opts.Log.Warn("a container has lost its place in a network", "container", c.s.ContainerID, "network", e.Network)
		n.forget(c.s.ContainerID, &e)
	}
	return nil
}

// onHostStill tells whether a link is there that is not found in the container by its name:
// a program in there may have renamed it, or put it into a namespace of its own.
func onHostStill(e *Endpoint) bool {
	if e.Link == "" {
		return false
	}
	_, err := netlink.Index(e.Link)
	return err == nil
}

// republish publishes the container's ports at the addresses that it has left, as the
// disconnect would have that was not finished.
func (c *change) republish() {
	p := c.placing()
	for _, r := range c.s.Publish {
		c.n.warn("publish a port at another address of its container", p.publish(r))
	}
	for _, f := range p.left() {
		c.n.ports.Release(f.proto, f.host)
	}
}

// settleRoutes gives the container the default routes of its endpoints, and takes away
// those of a change that was not finished and of lost endpoints.
func (n *Networks) settleRoutes(ns *os.File, endpoints, lost []Endpoint) error {
	ways := n.ways(endpoints)
	var others []netlink.Via
	for _, e := range slices.Concat(endpoints, lost) {
		for _, g := range []netip.Addr{e.Gateway, e.Gateway6} {
			if v := (netlink.Via{Link: e.Interface, Gateway: g}); g.IsValid() && !slices.Contains(ways, v) {
				others = append(others, v)
			}
		}
	}
	if err := netlink.ChangeDefault(ns, others, nil); err != nil {
		return err
	}
	return netlink.EnsureDefault(ns, ways)
}

// holdMissing has the keeper hold what the record says, with new sockets for what it does
// not hold yet. held is what it holds of the container, nil: nothing, as one that has come
// in the place of another.
func (c *change) holdMissing(held *keeper.HeldNetwork) error {
	n := c.n
	if !n.held(c.s) {
		return n.keeper.ReleaseNetwork(c.ctx, c.s.ContainerID, c.s.Generation)
	}
	defer c.closeFiles()
	there := c.sockets()
	holds := heldBy(held)
	for _, p := range onHost(c.s.Ports) {
		if !holds(p) && there[hostPortOf(p)] == nil {
			c.rebindFreed(p)
		}
	}
	if len(n.namedOf(c.s)) > 0 {
		var answered bool
		var err error
		if held != nil {
			answered, err = hasResolver(c.netNS)
		}
		if err == nil && !answered {
			c.resolver, err = openResolver(c.netNS)
		}
		if err != nil {
			return err
		}
	}
	return c.hold()
}

// heldBy returns what tells whether the keeper holds a port. One of a build that does not
// tell holds all.
func heldBy(h *keeper.HeldNetwork) func(firewall.Port) bool {
	if h == nil || h.Ports == nil {
		return func(firewall.Port) bool { return h != nil }
	}
	all := map[hostPort]bool{}
	for _, p := range h.Ports {
		all[hostPort{p.Proto, p.Host}] = true
	}
	return func(p firewall.Port) bool { return all[hostPortOf(p)] }
}

// has tells whether the endpoint has the address.
func (e *Endpoint) has(a netip.Addr) bool { return e.Address.Addr() == a || e.Address6.Addr() == a }

// hasResolver tells whether a socket is open at the resolver's address.
func hasResolver(ns *os.File) (open bool, err error) {
	b := Resolver.As4()
	slices.Reverse(b[:]) // as proc(5) has it on the machines that we know
	err = netlink.In(ns, func() error {
		table, err := os.ReadFile("/proc/thread-self/net/udp")
		open = bytes.Contains(table, fmt.Appendf(nil, " %X:", b))
		return err
	})
	return open, err
}
