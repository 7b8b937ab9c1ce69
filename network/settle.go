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

	"hoy/linux/netlink"
	"hoy/network/firewall"
)

// Settle makes true what the records of adopted containers say, after an engine that may
// have been killed in the middle of a change: links that no record knows go, and what is
// missing of routes, sockets and rules comes back. A place in a network whose link is gone
// is given up; Sandbox tells what is left. netns opens the network namespace of a running
// container. It is called after every Adopt and before Start.
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

// sweep removes ports of our bridges that are no container's. Those that were kept ready
// go by themselves, with their namespaces.
func (n *Networks) sweep() {
	n.mu.Lock()
	known := map[string]bool{}
	for _, m := range n.attached {
		for _, e := range m.now.Endpoints {
			known[e.Link] = true
		}
	}
	bridges := slices.DeleteFunc(n.all(), func(s *segment) bool { return s.Driver != "bridge" || !s.Made || s.index == 0 })
	n.mu.Unlock()
	for _, s := range bridges {
		ports, err := netlink.Ports(s.index)
		n.warn("list the ports of a bridge", err)
		for _, p := range ports {
			if strings.HasPrefix(p, "veth") && !known[p] {
				n.warn("remove a link that is no container's", netlink.DelLink(p))
			}
		}
	}
}

func (n *Networks) settleOne(ctx context.Context, m *member, netns func(string) (*os.File, error), held bool, turn time.Duration) error {
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
		gone := e.Interface != "" && !slices.Contains(links, e.Interface)
		if gone {
			lost = append(lost, e)
		}
		return gone
	})
	if err := n.settleRoutes(ns, c.s.Endpoints); err != nil {
		return err
	}
	c.s.Ports = slices.DeleteFunc(c.s.Ports, func(p firewall.Port) bool {
		return !slices.ContainsFunc(c.s.Endpoints, func(e Endpoint) bool { return e.has(p.Container.Addr()) })
	})
	if err := c.holdMissing(held); err != nil {
		return err
	}
	n.set(m, c.s)
	m.silence = append(m.silence, n.announce(ns, c.s.Endpoints, turn, 1))
	for _, e := range lost {
		n.opts.Log.Warn("a container has lost its link", "container", c.s.ContainerID, "network", e.Network)
		n.forget(c.s.ContainerID, &e)
	}
	return nil
}

// settleRoutes gives the container the default routes of its endpoints, and takes away
// those of a change that was not finished.
func (n *Networks) settleRoutes(ns *os.File, endpoints []Endpoint) error {
	ways := n.ways(endpoints)
	var others []netlink.Via
	for _, e := range endpoints {
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
// not hold yet. held says whether it is one that holds something of the container: a
// socket that is open otherwise is a dead keeper's, and about to go.
func (c *change) holdMissing(held bool) error {
	n := c.n
	if !n.held(c.s) {
		return n.keeper.ReleaseNetwork(c.ctx, c.s.ContainerID, c.s.Generation)
	}
	defer c.closeFiles()
	for _, p := range onHost(c.s.Ports) {
		if !held {
			n.warn("hold a published port, which still leads to its container", c.rebindFreed(p))
		} else if err := c.rebind(p); err != nil {
			n.opts.Log.Debug("a published port is held already", "error", err) // by the keeper, as it should
		}
	}
	if len(n.namedOf(c.s)) > 0 {
		var answered bool
		var err error
		if held {
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
