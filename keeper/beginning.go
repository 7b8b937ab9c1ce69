package keeper

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// A beginning is by what a client learns, when a keeper died over a spawn request, whether
// the process has begun: if it has, and no keeper finds it, it has ended and is not to be
// started once more. It is the socket of spawn.Plan.Begin.
type beginning struct {
	mine, theirs int // -1: closed
	begun        bool
}

// anew is the beginning for the next request after b, nil: for the first one. Once the process
// has begun no other may.
func (b *beginning) anew() (*beginning, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	n := &beginning{mine: fds[0], theirs: fds[1]}
	if b != nil && b.begun {
		n.begun = true
		unix.Shutdown(n.mine, unix.SHUT_RD)
	}
	return n, nil
}

func (b *beginning) close() {
	if b != nil && b.mine >= 0 {
		unix.Close(b.mine)
		unix.Close(b.theirs)
		b.mine, b.theirs = -1, -1
	}
}

// decide tells whether the process has begun. One that has not never will.
func (b *beginning) decide() bool {
	if b == nil {
		return false
	}
	if b.mine >= 0 {
		unix.Shutdown(b.mine, unix.SHUT_RD) // what was said before can be read yet
		n, _, err := unix.Recvfrom(b.mine, make([]byte, 1), unix.MSG_DONTWAIT)
		b.begun = b.begun || err == nil && n > 0
		b.close()
	}
	return b.begun
}

// callSpawn sends a spawn request, and again to the next keeper when one died over it. place
// is where in fds the process's end of its beginning goes, -1: nowhere.
func (c *Client) callSpawn(ctx context.Context, b spawnBody, fds []int, place int) (reply []byte, got []int, err error) {
	err = c.retry(ctx, func(l *link) error {
		if place >= 0 {
			fd, err := c.listen(b.ID, b.Generation)
			if err != nil {
				return fmt.Errorf("cannot start %s: %w", b.ID, err)
			}
			defer unix.Close(fd)
			fds[place] = fd
		}
		return l.do(ctx, typeSpawn, b, fds, func(b []byte, f []int) { reply, got = b, f })
	})
	return reply, got, err
}

// listen returns a duplicate of the process's end of its beginning.
func (c *Client) listen(id string, generation uint64) (fd int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept[id]
	if k == nil || k.generation != generation {
		return -1, errClosed
	}
	if k.beginning == nil || k.beginning.mine < 0 {
		if k.beginning, err = k.beginning.anew(); err != nil {
			return -1, err
		}
	}
	return unix.FcntlInt(uintptr(k.beginning.theirs), unix.F_DUPFD_CLOEXEC, 0)
}

// begun closes the beginning of a process whose spawn is answered.
func (c *Client) begun(k *kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.beginning.close()
	k.beginning = nil
}
