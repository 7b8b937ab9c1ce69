package network

import (
	"errors"
	"time"
)

// Leaving tells that a container has ended, as the keeper says, and that Detach follows
// soon: its networks may be removed, and its addresses and ports asked for. Who does waits
// for Detach.
func (n *Networks) Leaving(containerID string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.attached[containerID]; m != nil {
		m.leaving = true
	}
}

// awaitLeaving waits until the containers that are leaving now have left. It tells whether
// there were any; the caller holds mu.
func (n *Networks) awaitLeaving() (any bool) {
	for id, m := range n.attached {
		for ; m.leaving && n.attached[id] == m; any = true {
			n.left.Wait()
		}
	}
	return any
}

// patience is how long a change waits for a new keeper to hold what the former one did.
const patience = 5 * time.Second

// retry calls f, and again if it has failed while containers were leaving, since what it
// wants may have been theirs, or when it was quicker than Rehold.
func (n *Networks) retry(f func() error) error {
	n.mu.Lock()
	reheld := n.reheld
	n.mu.Unlock()
	err := f()
	if err == nil {
		return nil
	}
	if errors.As(err, new(notHeld)) {
		select {
		case <-reheld:
			return f()
		case <-time.After(patience):
			return err
		}
	}
	n.mu.Lock()
	again := n.awaitLeaving()
	n.mu.Unlock()
	if again {
		err = f()
	}
	return err
}
