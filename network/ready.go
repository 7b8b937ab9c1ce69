package network

import (
	"time"

	"hoy/linux/netlink"
)

// idle is how long nobody must have been on a network until none of its endpoints are
// kept ready any more.
const idle = 10 * time.Second

// fewer is how many endpoints of a network that somebody has made are kept ready.
const fewer = 3

// takeReady returns namespaces with an endpoint of the network. From the first time on
// more are kept ready.
func (n *Networks) takeReady(s *segment) (*prepared, error) {
	n.mu.Lock()
	p := s.ready
	n.mu.Unlock()
	size := fewer
	if p != nil {
		made, err := p.take()
		if err != nil {
			return nil, err
		}
		if index, err := netlink.Index(s.Link); err == nil && index == made.parent {
			return made, nil
		}
		// Somebody has deleted the network's link: what was made with it leads nowhere.
		size = p.size
		made.discard()
		n.stopReady(s)
	}
	made, err := n.prepare(s)
	if err == nil {
		n.keepReady(s, size)
	}
	return made, err
}

// keepReady begins to keep endpoints of a network ready.
func (n *Networks) keepReady(s *segment, size int) {
	p := newPool(size, n.opts.Log, func() (*prepared, error) { return n.prepare(s) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.ready == nil && !s.gone && n.started && n.opts.Ready > 0 {
		s.ready = p
		p.start()
	}
}

// stopReady gives up what is kept ready of a network.
func (n *Networks) stopReady(s *segment) {
	n.mu.Lock()
	p := s.ready
	s.ready = nil
	n.mu.Unlock()
	if p != nil {
		p.close()
	}
}

// rest gives up what is kept ready of a network that nobody is on any more, unless
// somebody comes soon. The caller holds mu.
func (n *Networks) rest(s *segment) {
	if s.ready == nil || s.uses > 0 || s.Predefined() {
		return
	}
	time.AfterFunc(idle, func() {
		n.mu.Lock()
		still := s.uses == 0
		n.mu.Unlock()
		if still {
			n.stopReady(s)
		}
	})
}
