package network

import (
	"context"
	"net/netip"
	"os"
	"slices"

	"hoy/keeper"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/netlink"
)

// begin begins a change to an attached container. end ends it: what err does not say has
// failed is kept.
func (n *Networks) begin(ctx context.Context, containerID string, netns *os.File) (_ *change, end func(*error), err error) {
	n.mu.Lock()
	m := n.attached[containerID]
	n.mu.Unlock()
	if m == nil {
		return nil, nil, fault.New(fault.Conflict, "container %s is not running", containerID)
	}
	m.op.Lock()
	n.mu.Lock()
	there := n.attached[containerID] == m
	n.mu.Unlock()
	if !there {
		m.op.Unlock()
		return nil, nil, fault.New(fault.Conflict, "container %s is not running", containerID)
	}
	c := n.change(ctx, m)
	c.netNS = netns
	return c, func(err *error) {
		if *err == nil {
			c.succeed(m)
		}
		c.undo.Run()
		m.op.Unlock()
	}, nil
}

// Connect puts a running container on one more network. netns is its network namespace.
// It returns how the container is attached now.
func (n *Networks) Connect(ctx context.Context, containerID string, netns *os.File, r EndpointRequest) (s *Sandbox, err error) {
	err = n.retry(func() (err error) {
		s, err = n.connectOnce(ctx, containerID, netns, r)
		return err
	})
	return s, err
}

func (n *Networks) connectOnce(ctx context.Context, containerID string, netns *os.File, r EndpointRequest) (_ *Sandbox, err error) {
	c, end, err := n.begin(ctx, containerID, netns)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	if c.s.Mode == "host" {
		return nil, fault.New(fault.Invalid, "cannot connect a container of the host's network to another")
	}
	var none []Endpoint
	if c.s.Mode == "none" {
		none, c.s.Endpoints, c.s.Mode = c.s.Endpoints, nil, ""
	}
	if err := c.join(r); err != nil {
		return nil, err
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	for _, e := range none {
		n.forget(containerID, &e)
	}
	return c.s, nil
}

// Disconnect takes a running container off a network.
func (n *Networks) Disconnect(ctx context.Context, containerID string, netns *os.File, network string) (s *Sandbox, err error) {
	err = n.retry(func() (err error) {
		s, err = n.disconnectOnce(ctx, containerID, netns, network)
		return err
	})
	return s, err
}

func (n *Networks) disconnectOnce(ctx context.Context, containerID string, netns *os.File, network string) (_ *Sandbox, err error) {
	c, end, err := n.begin(ctx, containerID, netns)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	i := slices.IndexFunc(c.s.Endpoints, func(e Endpoint) bool { return e.Network == network || e.NetworkID == network })
	if i < 0 {
		return nil, fault.New(fault.Forbidden, "container %s is not connected to network %s", containerID, network)
	}
	if c.s.Mode == "host" {
		return nil, fault.New(fault.Invalid, "cannot disconnect container from host network - container was created in host network mode")
	}
	e := c.s.Endpoints[i]
	c.s.Endpoints = slices.Delete(c.s.Endpoints, i, i+1)
	if err := c.finish(); err != nil {
		return nil, err
	}
	if err := failpoint.Hit(failpoint.NetworkDisconnected); err != nil {
		return nil, err
	}
	if err := n.unlink(&e, netns); err != nil {
		return nil, err
	}
	// The link does not come back: from here on nothing fails.
	n.warn("disconnect", failpoint.Hit(failpoint.NetworkUnlinked))
	n.forget(containerID, &e)
	return c.s, nil
}

// unlink removes the link of an endpoint.
func (n *Networks) unlink(e *Endpoint, netns *os.File) error {
	l := netlink.Link{Kind: netlink.Veth, Host: e.Link, Name: e.Interface, Namespace: netns}
	switch {
	case e.Interface == "":
		return nil
	case e.Link == "":
		l.Kind = netlink.Macvlan
	}
	return l.Remove()
}

// forget gives back what an endpoint whose link is gone had.
func (n *Networks) forget(containerID string, e *Endpoint) {
	n.mu.Lock()
	s := n.segments[e.NetworkID]
	n.mu.Unlock()
	if s == nil {
		return
	}
	if s.hasNames() {
		n.unname(s.ID, containerID)
	}
	n.disallow(s, e)
	n.giveBack(s, e)
	n.release(s)
}

// Rename gives a container other names in a network.
func (n *Networks) Rename(ctx context.Context, containerID, network string, names []string) (err error) {
	c, end, err := n.begin(ctx, containerID, nil)
	if err != nil {
		return err
	}
	defer end(&err)
	for i := range c.s.Endpoints {
		e := &c.s.Endpoints[i]
		if e.Network != network && e.NetworkID != network {
			continue
		}
		n.mu.Lock()
		s := n.segments[e.NetworkID]
		n.mu.Unlock()
		e.Names = names
		if s == nil || !s.hasNames() {
			return nil
		}
		return n.keeper.SetNames(ctx, s.ID, false, entries(containerID, *e), nil)
	}
	return fault.New(fault.Forbidden, "container %s is not connected to network %s", containerID, network)
}

func (n *Networks) unname(networkID, containerID string) {
	n.warn("take back the names of a container", n.keeper.SetNames(context.Background(), networkID, false, nil, []string{containerID}))
}

// nameAll tells the keeper all names of all networks.
func (n *Networks) nameAll(ctx context.Context) error {
	n.mu.Lock()
	all := map[string][]keeper.NameEntry{}
	for id, s := range n.segments {
		if s.hasNames() {
			all[id] = nil
		}
	}
	for id, m := range n.attached {
		for _, e := range m.now.Endpoints {
			if _, has := all[e.NetworkID]; has {
				all[e.NetworkID] = append(all[e.NetworkID], entries(id, e)...)
			}
		}
	}
	n.mu.Unlock()
	for id, set := range all {
		if err := n.keeper.SetNames(ctx, id, true, set, nil); err != nil {
			return err
		}
	}
	return nil
}

// namedOf returns the ids of the networks with names that a container is on, that of its
// default route first.
func (n *Networks) namedOf(s *Sandbox) (ids []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range s.Endpoints {
		if seg := n.segments[e.NetworkID]; seg != nil && seg.hasNames() {
			ids = append(ids, e.NetworkID)
		}
	}
	return ids
}

// zones are the names of networks, by id.
func (n *Networks) zones(ids []string) map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]string{}
	for _, id := range ids {
		if s := n.segments[id]; s != nil {
			all[id] = s.Name
		}
	}
	return all
}

// hostsOf are the names of its own that a container resolves.
func hostsOf(r ResolverRequest) map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for name, a := range r.Hosts {
		all[name] = []netip.Addr{a}
	}
	return all
}
