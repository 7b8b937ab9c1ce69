package network

import (
	"context"
	"errors"
	"os"

	"hoy/keeper"
)

// Rehold gives a new keeper all that the former one held. netns opens the network
// namespace of a running container.
func (n *Networks) Rehold(ctx context.Context, netns func(containerID string) (*os.File, error)) error {
	n.mu.Lock()
	var all []*member
	for _, m := range n.attached {
		all = append(all, m)
	}
	n.mu.Unlock()
	for _, m := range all {
		if err := n.reholdOne(ctx, m, netns); err != nil {
			n.opts.Log.Warn("a container's published ports are not held, or its names not answered", "container", m.now.ContainerID, "error", err)
		}
	}
	n.mu.Lock()
	close(n.reheld)
	n.reheld = make(chan struct{})
	n.mu.Unlock()
	return n.nameAll(ctx)
}

// releaseStrangers has the keeper give up what it holds for containers that are not
// attached. It returns what it holds for others.
func (n *Networks) releaseStrangers(ctx context.Context) (holds map[string]*keeper.HeldNetwork, err error) {
	held, err := n.keeper.NetworkHolds(ctx)
	holds = map[string]*keeper.HeldNetwork{}
	for _, h := range held {
		s := n.Sandbox(h.ID)
		if s == nil || s.Generation != h.Generation || !n.held(s) {
			err = errors.Join(err, n.keeper.ReleaseNetwork(ctx, h.ID, h.Generation))
			continue
		}
		holds[h.ID] = &h
	}
	return holds, err
}

func (n *Networks) reholdOne(ctx context.Context, m *member, netns func(string) (*os.File, error)) error {
	m.op.Lock()
	defer m.op.Unlock()
	n.mu.Lock()
	s := m.now
	there := n.attached[s.ContainerID] == m
	n.mu.Unlock()
	if !there || !n.held(s) {
		return nil
	}
	ns, err := netns(s.ContainerID)
	if err != nil {
		return err
	}
	defer ns.Close()
	c := n.change(ctx, m)
	c.netNS = ns
	c.was = &Sandbox{ContainerID: s.ContainerID, Generation: s.Generation}
	for _, p := range onHost(s.Ports) {
		c.rebindFreed(p)
	}
	defer c.closeFiles()
	return c.hold()
}
