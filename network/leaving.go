package network

// Leaving tells that a container has ended, and that Detach follows soon: its networks may
// be removed, and its addresses and ports asked for. Who does waits for Detach.
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

// retry calls f, and again if it has failed while containers were leaving: what it wants
// may have been theirs.
func (n *Networks) retry(f func() error) error {
	err := f()
	if err == nil {
		return nil
	}
	n.mu.Lock()
	again := n.awaitLeaving()
	n.mu.Unlock()
	if again {
		err = f()
	}
	return err
}
