package keeper

import (
	"hoy/lib/fault"
)

// parts are requests of which the last part has not come: on one connection, one hold and
// one change of names at a time for each container and network.
type parts struct {
	holds map[string]*partialHold
	names map[string]*namesBody
}

type partialHold struct {
	holdBody
	fds []int
}

// hold takes a part of a hold, and with the last of them acts. It owns fds.
func (c *conn) hold(body []byte, fds []int) error {
	var b holdBody
	if err := decode(body, &b); err != nil {
		closeAll(fds)
		return err
	}
	if err := checkID(b.ID); err != nil {
		closeAll(fds)
		return err
	}
	p := &partialHold{b, fds}
	was := c.parts.holds[b.ID]
	delete(c.parts.holds, b.ID)
	if b.Part > 0 && (was == nil || was.Part != b.Part-1 || was.Generation != b.Generation) {
		was.drop()
		closeAll(fds)
		return errFirstPart
	}
	if b.Part > 0 {
		was.Ports, was.Part, was.More = append(was.Ports, b.Ports...), b.Part, b.More
		was.fds = append(was.fds, fds...)
		p, was = was, nil
	}
	was.drop() // a request that was not completed
	if b.More {
		if c.parts.holds == nil {
			c.parts.holds = map[string]*partialHold{}
		}
		c.parts.holds[b.ID] = p
		return nil
	}
	f, err := takeHoldFiles(&p.holdBody, p.fds)
	if err != nil {
		return err
	}
	return c.s.hold(&p.holdBody, f)
}

func (p *partialHold) drop() {
	if p != nil {
		closeAll(p.fds)
	}
}

// drop forgets what is incomplete, as the connection ends.
func (ps *parts) drop() {
	for _, p := range ps.holds {
		p.drop()
	}
}

// names takes a part of a change of names.
func (c *conn) names(b *namesBody) error {
	was := c.parts.names[b.Network]
	delete(c.parts.names, b.Network)
	if b.Part > 0 {
		if was == nil || was.Part != b.Part-1 {
			return errFirstPart
		}
		was.Set, was.Part, was.More = append(was.Set, b.Set...), b.Part, b.More
		b = was
	}
	if b.More {
		if c.parts.names == nil {
			c.parts.names = map[string]*namesBody{}
		}
		c.parts.names[b.Network] = b
		return nil
	}
	c.s.acting.RLock()
	defer c.s.acting.RUnlock()
	c.s.networks.tables.Set(b.Network, b.Replace, b.Set, b.Remove)
	return nil
}

// hold holds a container's network, unless its process has ended.
func (s *server) hold(b *holdBody, f *heldFiles) error {
	s.acting.RLock()
	defer s.acting.RUnlock()
	return s.networks.hold(b, f, func() error {
		s.mu.Lock()
		p := s.procs[b.ID]
		s.mu.Unlock()
		if p != nil && (p.Generation > b.Generation || p.Generation == b.Generation && p.done() != nil) {
			return fault.New(fault.Conflict, "start %d of %s is over: its network is not held", b.Generation, b.ID)
		}
		return nil
	})
}
