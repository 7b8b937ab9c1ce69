package container

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/fault"
)

// hangUp is how often it is looked whether clients that wait for a start are still there.
const hangUp = time.Second

// connect gives the client to the running process or keeps it for the next one.
func (c *Containers) connect(ctx context.Context, k *Container, a keeper.Attachment) error {
	k.mu.Lock()
	if k.process == nil {
		defer k.mu.Unlock()
		if k.removing || c.index.gone(k) {
			return fault.New(fault.Conflict, "container is marked for removal and cannot be attached to")
		}
		k.pending = append(k.pending, a)
		if k.taken == nil {
			taken := make(chan struct{})
			k.taken = taken
			go c.dropGone(k, taken)
		}
		return nil
	}
	k.mu.Unlock()
	return c.o.Keeper.Attach(context.WithoutCancel(ctx), k.id, a)
}

// dropGone drops clients that hang up while they wait, until nobody waits any more.
func (c *Containers) dropGone(k *Container, taken <-chan struct{}) {
	look := time.NewTicker(hangUp)
	defer look.Stop()
	for waiting := true; waiting; {
		select {
		case <-taken:
			return
		case <-c.closing:
			return
		case <-look.C:
			waiting = k.dropGone(taken)
		}
	}
}

func (k *Container) dropGone(taken <-chan struct{}) (waiting bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken != taken { // and others wait now
		return false
	}
	if k.pending = withoutGone(k.pending); len(k.pending) == 0 {
		k.taken = nil
	}
	return k.taken != nil
}

// withoutGone closes and drops clients that have hung up.
func withoutGone(l []keeper.Attachment) []keeper.Attachment {
	kept := l[:0]
	for _, a := range l {
		p := []unix.PollFd{{Fd: int32(a.Conn.Fd())}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
			a.Conn.Close()
			continue
		}
		kept = append(kept, a)
	}
	clear(l[len(kept):])
	return kept
}

// takePending takes the clients that wait.
func (k *Container) takePending() []keeper.Attachment {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken != nil {
		close(k.taken)
	}
	l := withoutGone(k.pending)
	k.pending, k.taken = nil, nil
	return l
}

func closeAttachments(l []keeper.Attachment) {
	for _, a := range l {
		a.Conn.Close() // closed already where a spawn has taken it
	}
}
