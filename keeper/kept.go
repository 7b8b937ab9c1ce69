package keeper

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kept is what the client keeps of a process, so that the keeper's death does not hang
// up its terminal or end its input, and that its exit status, and output that nobody
// has read yet, are not lost if it ends before there is another keeper.
type kept struct {
	generation     uint64
	pidfd          *os.File
	console, stdin int // -1: none
	inputOver      bool
	outputs        []int
}

func (k *kept) close() {
	if k.pidfd != nil {
		k.pidfd.Close()
	}
	for _, fd := range []int{k.console, k.stdin} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	closeAll(k.outputs)
}

// keepConsole keeps a duplicate of the console from before the request is sent: the
// keeper may die with the process made and the request unanswered.
func (c *Client) keepConsole(r SpawnRequest) error {
	k := &kept{generation: r.Generation, console: -1, stdin: -1}
	if r.Console != nil {
		fd, err := unix.FcntlInt(r.Console.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot keep console of %s: %w", r.ID, err)
		}
		k.console = fd
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.kept[r.ID]; old != nil {
		if old.generation == r.Generation {
			k.close()
			return nil
		}
		old.close()
	}
	c.kept[r.ID] = k
	return nil
}

// keep keeps the descriptors that came with the description of a process, where there
// are none yet.
func (c *Client) keep(p *processBody, fds []int) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept[p.ID]
	if k == nil || k.generation != p.Generation {
		k = &kept{generation: p.Generation, console: -1, stdin: -1, inputOver: c.early[letGoBody{p.ID, p.Generation}]}
		c.kept[p.ID] = k
	}
	if p.HasPidfd && len(fds) > 0 && k.pidfd == nil {
		k.pidfd, fds = os.NewFile(uintptr(fds[0]), "pidfd:"+p.ID), fds[1:]
	} else if p.HasPidfd && len(fds) > 0 {
		unix.Close(fds[0])
		fds = fds[1:]
	}
	for i, has := range []bool{p.HasStdin, p.HasConsole} {
		to := []*int{&k.stdin, &k.console}[i]
		if !has || len(fds) == 0 {
			continue
		}
		if *to < 0 && !(p.HasStdin && k.inputOver) {
			*to = fds[0]
		} else {
			unix.Close(fds[0])
		}
		fds = fds[1:]
	}
	if k.outputs == nil && p.Outputs == len(fds) {
		k.outputs, fds = fds, nil
	}
	closeAll(fds)
	return k
}

// letGo closes what only its end in the keeper should hold open. The keeper says so
// once, maybe before its list, or the reply to a spawn, is understood here.
func (c *Client) letGo(b letGoBody) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept[b.ID]
	if k == nil || k.generation != b.Generation {
		if c.early != nil {
			c.early[b] = true
		}
		return
	}
	k.inputOver = true
	if k.stdin >= 0 {
		unix.Close(k.stdin)
		k.stdin = -1
	}
}

func (c *Client) drop(id string, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.kept[id]; k != nil && k.generation == generation {
		k.close()
		delete(c.kept, id)
	}
}
