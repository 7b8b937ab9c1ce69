package network

import (
	"context"
	"fmt"
	"os"
	"slices"

	"hoy/lib/cleanup"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// Detach gives back what the container was attached to. A container that is not attached
// is no error.
func (n *Networks) Detach(containerID string) {
	n.mu.Lock()
	m := n.attached[containerID]
	n.mu.Unlock()
	if m == nil {
		return
	}
	m.op.Lock()
	defer m.op.Unlock()
	n.mu.Lock()
	s, ended := m.now, m.leaving
	there := n.attached[containerID] == m
	n.mu.Unlock()
	if !there {
		return
	}
	for _, f := range m.silence {
		f()
	}
	ctx := context.Background()
	if len(s.Ports) > 0 {
		n.warn("take back published ports", n.firewall.Unpublish(forwarded(s.Ports)...))
	}
	n.warn("detach", failpoint.Hit(failpoint.NetworkUnpublished))
	if n.held(s) && !ended { // or the keeper gave it up before it told of the end
		n.warn("give up what the keeper holds of a network", n.keeper.ReleaseNetwork(ctx, s.ContainerID, s.Generation))
	}
	for _, p := range onHost(s.Ports) {
		n.ports.Release(p.Proto, p.Host)
	}
	for _, e := range s.Endpoints {
		n.mu.Lock()
		seg := n.segments[e.NetworkID]
		n.mu.Unlock()
		if seg == nil {
			continue
		}
		if seg.hasNames() {
			n.unname(seg.ID, containerID)
		}
		n.disallow(seg, &e)
		if e.Link != "" {
			n.linger(e.Link)
		}
		n.giveBack(seg, &e)
		n.release(seg)
	}
	n.leave(containerID) // last: who waits for it may have all
}

// Sever removes the links of a container that has ended, whose network namespace stays
// where others have joined it. netns is that, nil: it is not known; then only links that
// have an end outside go.
func (n *Networks) Sever(containerID string, netns *os.File) {
	s := n.Sandbox(containerID)
	if s == nil {
		return
	}
	for _, e := range s.Endpoints {
		if e.Link != "" || netns != nil {
			n.warn("remove the link of a container that has ended", n.unlink(&e, netns))
		}
	}
}

// Adopt takes back what a running container of an earlier engine was given. It must
// be called before Start and the first Attach: they give away what is not adopted.
// Of a network that is not there any more, as after its record was damaged, nothing is
// taken back; Settle gives the place there up.
func (n *Networks) Adopt(s Sandbox) error {
	s.UserNS, s.NetNS = nil, nil
	s.Endpoints = n.present(s.Endpoints)
	m := &member{now: &s}
	if err := n.enter(m); err != nil {
		return err
	}
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { n.leave(s.ContainerID) })
	for _, e := range s.Endpoints {
		seg, err := n.acquire(e.NetworkID)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot keep container %s on network %s: %w", s.ContainerID, e.Network, err)
		}
		undo.Add(func() { n.release(seg) })
		for _, a := range e.addresses() {
			if _, _, err := seg.claim(a.Addr().Is6(), a.Addr(), never); err != nil {
				return fmt.Errorf("cannot keep address %s of container %s: %w", a, s.ContainerID, err)
			}
			undo.Add(func() { seg.release(a.Addr()) })
		}
	}
	for _, p := range onHost(s.Ports) {
		if err := n.ports.Claim(p.Proto, p.Host); err != nil {
			return fmt.Errorf("cannot keep a port of container %s: %w", s.ContainerID, err)
		}
		undo.Add(func() { n.ports.Release(p.Proto, p.Host) })
	}
	undo.Release()
	return nil
}

// present returns the endpoints with the ids that the predefined networks have now: they
// get others when their record is lost, and are the same networks.
func (n *Networks) present(endpoints []Endpoint) []Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := slices.Clone(endpoints)
	for i := range all {
		e := &all[i]
		if s := n.named(e.Network); n.segments[e.NetworkID] == nil && s != nil && s.Predefined() {
			e.NetworkID = s.ID
		}
	}
	return all
}
