package network

import (
	"context"
	"slices"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/idmap"
)

// Attach gives a container its namespaces, and in them its place in every network it is
// on, its ports of the host and its names. A failure leaves nothing.
func (n *Networks) Attach(ctx context.Context, r AttachRequest) (s *Sandbox, err error) {
	err = n.retry(func() (err error) {
		s, err = n.attachOnce(ctx, r)
		return err
	})
	return s, err
}

func (n *Networks) attachOnce(ctx context.Context, r AttachRequest) (*Sandbox, error) {
	m := &member{now: &Sandbox{ContainerID: r.ContainerID, Name: r.Name, Generation: r.Generation, Mode: r.Mode}}
	m.op.Lock()
	defer m.op.Unlock()
	if err := n.enter(m); err != nil {
		return nil, err
	}
	c := n.change(ctx, m)
	defer c.undo.Run()
	c.undo.Add(func() { n.leave(r.ContainerID) })
	c.s.Resolver, c.s.Publish = r.Resolver, r.Publish
	if err := c.attach(r); err != nil {
		return nil, err
	}
	c.succeed(m)
	s := *c.s
	s.UserNS, s.NetNS = c.userNS, c.netNS
	return &s, nil
}

// enter makes the container known as attached.
func (n *Networks) enter(m *member) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := m.now.ContainerID
	if _, twice := n.attached[id]; twice {
		return fault.New(fault.Conflict, "container %s is already attached to a network", id)
	}
	n.attached[id] = m
	return nil
}

func (n *Networks) leave(containerID string) {
	n.mu.Lock()
	delete(n.attached, containerID)
	n.left.Broadcast()
	n.mu.Unlock()
}

func (n *Networks) set(m *member, s *Sandbox) {
	n.mu.Lock()
	m.now = s
	n.mu.Unlock()
}

func (c *change) attach(r AttachRequest) error {
	switch r.Mode {
	case "":
	case "host", "none":
		return c.alone(r)
	default:
		return fault.New(fault.Invalid, "cannot attach a container in mode %q: the modes are host and none", r.Mode)
	}
	if len(r.Endpoints) == 0 || len(r.Endpoints) == 1 && r.Endpoints[0].Network == "bridge" && c.n.opts.Bridge == "none" {
		// An engine without default network (--bridge none) gives its containers none.
		return c.alone(AttachRequest{Mode: "none", HostUser: r.HostUser})
	}
	if err := c.first(r.Endpoints[0], r.HostUser); err != nil {
		return err
	}
	for _, e := range r.Endpoints[1:] {
		if err := c.join(e); err != nil {
			return err
		}
	}
	return c.finish()
}

// alone attaches to the host's network or to none.
func (c *change) alone(r AttachRequest) error {
	s, err := c.use(r.Mode)
	if err != nil {
		return err
	}
	c.s.Mode = r.Mode
	c.s.Endpoints = []Endpoint{{Network: s.Name, NetworkID: s.ID, EndpointID: newID(), Driver: s.Driver}}
	own := r.HostUser && c.n.opts.UserMap != nil
	var p *prepared
	switch {
	case r.Mode == "host" && (r.HostUser || c.n.opts.UserMap == nil):
		return nil
	case r.Mode == "host":
		p = &prepared{}
		p.userNS, err = idmap.New(c.n.opts.UserMap)
	case own:
		p, err = c.n.isolated(true)
	default:
		p, err = c.n.none.take()
	}
	if err == nil {
		c.adopt(p)
	}
	return err
}

// first gives the container its namespaces with the first of its endpoints, ready ones if
// nothing special is asked for.
func (c *change) first(r EndpointRequest, hostUser bool) error {
	s, err := c.use(r.Network)
	if err != nil {
		return err
	}
	if s.Driver == "host" || s.Driver == "null" {
		return fault.New(fault.Invalid, "cannot attach to network %s beside others", s.Name)
	}
	if !r.plain() || hostUser && c.n.opts.UserMap != nil {
		p, err := c.n.namespaces(hostUser)
		if err != nil {
			return err
		}
		c.adopt(p)
		return c.add(s, r)
	}
	p, err := c.n.takeReady(s)
	if err != nil {
		return err
	}
	c.adopt(p)
	e := *p.endpoint
	e.Names, e.Priority = r.Names, r.Priority
	c.s.Endpoints = append(c.s.Endpoints, e)
	c.ways = c.n.ways(c.s.Endpoints)
	return c.introduce(s, r)
}

// plain tells whether any endpoint of the network will do.
func (r *EndpointRequest) plain() bool {
	return !r.IPv4.IsValid() && !r.IPv6.IsValid() && len(r.LinkLocal) == 0 && r.MAC == nil && len(r.Options) == 0 && !r.NoIPv6
}

// join adds an endpoint.
func (c *change) join(r EndpointRequest) error {
	s, err := c.use(r.Network)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(c.s.Endpoints, func(e Endpoint) bool { return e.NetworkID == s.ID }) {
		return fault.New(fault.Forbidden, "container %s is already on network %s", c.s.ContainerID, s.Name)
	}
	return c.add(s, r)
}

// add makes the endpoint of a network in use.
func (c *change) add(s *segment, r EndpointRequest) error {
	names := make([]string, 0, len(c.s.Endpoints))
	for _, e := range c.s.Endpoints {
		names = append(names, e.Interface)
	}
	e, drop, err := c.n.endpoint(s, r, c.netNS, names, c.n.evict)
	if err != nil {
		return err
	}
	c.undo.Add(drop)
	c.s.Endpoints = append(c.s.Endpoints, *e)
	if len(c.s.Endpoints) == 1 {
		c.ways = c.n.ways(c.s.Endpoints)
	}
	return c.introduce(s, r)
}

// introduce makes the last endpoint known: to the firewall and by name.
func (c *change) introduce(s *segment, r EndpointRequest) error {
	if err := c.reach(s, r); err != nil {
		return err
	}
	return c.name(s, r)
}

// name tells the keeper the container's names in a network.
func (c *change) name(s *segment, r EndpointRequest) error {
	for alias, name := range r.Links {
		links := map[string]string{alias: name}
		for a, n := range c.s.Links {
			links[a] = n
		}
		c.s.Links = links
	}
	if !s.hasNames() {
		return nil
	}
	id := c.s.ContainerID
	c.undo.Add(func() { c.n.unname(s.ID, id) })
	if err := c.n.keeper.SetNames(c.ctx, s.ID, false, entries(id, c.s.Endpoints[len(c.s.Endpoints)-1]), nil); err != nil {
		return err
	}
	return failpoint.Hit(failpoint.NetworkNamed)
}
