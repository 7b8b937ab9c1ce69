package network

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/netlink"
	"hoy/network/hostports"
)

// change is a change to what a container is attached to.
type change struct {
	n    *Networks
	ctx  context.Context
	s    *Sandbox // as it will be
	was  *Sandbox
	undo cleanup.Stack

	userNS, netNS *os.File
	resolver      *resolver // opened by this change; the keeper gets duplicates
	reserved      []hostports.Reserved
	done          []func()      // to do when the change has succeeded
	ways          []netlink.Via // default routes as they are
}

// change begins one; the caller holds m.op and runs its undo.
func (n *Networks) change(ctx context.Context, m *member) *change {
	next := *m.now
	next.Endpoints = slices.Clone(next.Endpoints)
	next.Ports = slices.Clone(next.Ports)
	return &change{n: n, ctx: ctx, s: &next, was: m.now, ways: n.ways(m.now.Endpoints)}
}

// succeed ends the change: it has become true.
func (c *change) succeed(m *member) {
	c.undo.Release()
	c.n.set(m, c.s)
	if c.netNS != nil {
		isNew := func(e Endpoint) bool {
			return !slices.ContainsFunc(c.was.Endpoints, func(o Endpoint) bool { return o.EndpointID == e.EndpointID })
		}
		if fresh := slices.DeleteFunc(slices.Clone(c.s.Endpoints), func(e Endpoint) bool { return !isNew(e) }); len(fresh) > 0 {
			m.silence = append(m.silence, c.n.announce(c.netNS, fresh, 0, maxAnnouncements))
		}
	}
	for _, f := range c.done {
		f()
	}
}

// adopt takes over prepared namespaces.
func (c *change) adopt(p *prepared) {
	c.undo.Add(p.discard)
	c.userNS, c.netNS, c.resolver = p.userNS, p.netNS, p.resolver
}

// use looks a network up and keeps it from being removed.
func (c *change) use(ref string) (*segment, error) {
	s, err := c.n.acquire(ref)
	if err == nil {
		c.undo.Add(func() { c.n.release(s) })
	}
	return s, err
}

// acquire looks a network up for an endpoint, whose end is told by release.
func (n *Networks) acquire(ref string) (*segment, error) {
	n.avoidRoutes(ref)
	for {
		s, moving, err := n.tryAcquire(ref)
		if !moving {
			return s, err
		}
		n.awaitChanges()
	}
}

// awaitChanges returns when no network is being changed.
func (n *Networks) awaitChanges() {
	n.changing.Lock()
	defer n.changing.Unlock()
}

func (n *Networks) tryAcquire(ref string) (s *segment, moving bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, err = n.find(ref); err != nil {
		return nil, false, err
	}
	if s.ConfigOnly {
		return nil, false, fault.New(fault.Forbidden, "cannot create endpoint on configuration-only network")
	}
	if s.moving {
		return nil, true, nil
	}
	s.uses++
	return s, false, nil
}

func (n *Networks) release(s *segment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.uses--
	n.rest(s)
}

// finish brings routes, ports and the keeper up to date with the endpoints. Where an
// endpoint is leaving, that a container has broken the network that should lead out next
// does not keep it.
func (c *change) finish() error {
	ways := c.n.ways(c.s.Endpoints)
	if !slices.Equal(ways, c.ways) {
		err := netlink.ChangeDefault(c.netNS, c.ways, ways)
		if err != nil && len(c.s.Endpoints) >= len(c.was.Endpoints) {
			return errors.Join(err, c.restore(nil))
		}
		c.n.warn("set a container's default route", err)
		c.undo.Add(func() { c.n.warn("restore the routes of a container", c.restore(ways)) })
	}
	if err := failpoint.Hit(failpoint.NetworkRouted); err != nil {
		return err
	}
	return c.publish()
}

// restore gives the container the default routes back that it had.
func (c *change) restore(from []netlink.Via) error {
	if err := netlink.ChangeDefault(c.netNS, append(from, c.ways...), c.ways); !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil // one of its own
}
