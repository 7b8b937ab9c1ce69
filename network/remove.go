package network

import (
	"context"
	"fmt"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// Remove removes a network that nobody is on.
func (n *Networks) Remove(ctx context.Context, ref string) error {
	s, err := n.claimRemoval(ref)
	if err != nil {
		return err
	}
	n.stopReady(s) // before: what makes more may wait for who is changing networks
	n.changing.Lock()
	defer n.changing.Unlock()
	err = n.down(s)
	if err == nil {
		err = failpoint.Hit(failpoint.NetworkDown)
	}
	if err == nil {
		err = n.save(n.records(nil, s))
	}
	n.mu.Lock()
	if err == nil {
		delete(n.segments, s.ID)
	} else {
		s.gone = false
	}
	n.mu.Unlock()
	if err != nil {
		n.warn("bring a network up that could not be removed", n.bringUp(s))
		return fmt.Errorf("cannot remove network %s: %w", s.Name, err)
	}
	if s.hasNames() {
		n.warn("forget the names of a network", n.keeper.DropNames(ctx, s.ID))
	}
	return nil
}

// claimRemoval marks a network that may be removed: from now on nobody joins it.
func (n *Networks) claimRemoval(ref string) (*segment, error) {
	for {
		s, moving, err := n.tryClaimRemoval(ref)
		if !moving {
			return s, err
		}
		n.awaitChanges()
	}
}

func (n *Networks) tryClaimRemoval(ref string) (s *segment, moving bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, err = n.find(ref); err != nil {
		return nil, false, err
	}
	if s.Predefined() {
		return nil, false, fault.New(fault.Forbidden, "%s is a pre-defined network and cannot be removed", s.Name)
	}
	if s.uses > 0 && n.awaitLeaving() {
		if s, err = n.find(ref); err != nil {
			return nil, false, err
		}
	}
	if s.uses > 0 {
		return nil, false, fault.New(fault.Forbidden, "network %s has active endpoints", s.Name)
	}
	for _, other := range n.segments {
		if s.ConfigOnly && other.ConfigFrom == s.Name {
			return nil, false, fault.New(fault.Forbidden, "configuration network %q is in use", s.Name)
		}
	}
	if s.moving {
		return nil, true, nil
	}
	s.gone = true
	return s, false, nil
}
