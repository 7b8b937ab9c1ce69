package keeper

import (
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// kept is what the client keeps of a process, so that the keeper's death does not hang
// up its terminal or end its input, and that its exit status, and output that nobody
// has read yet, are not lost if it ends before there is another keeper.
type kept struct {
	generation     uint64
	beginning      *beginning // until its spawn is answered
	pidfd          *os.File
	console, stdin int // -1: none
	inputOver      bool
	outputs        []int
	clients        []keptClient
}

// keptClient is a duplicate of an attached client's socket.
type keptClient struct {
	body attachBody
	fd   int
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
	k.beginning.close()
	for _, c := range k.clients {
		unix.Close(c.fd)
	}
}

// keepBefore keeps duplicates of the console and the clients from before the request
// is sent: the keeper may die with the process made and the request unanswered.
func (c *Client) keepBefore(r SpawnRequest, clients []attachBody) (err error) {
	k := &kept{generation: r.Generation, console: -1, stdin: -1}
	if r.Console != nil {
		if k.console, err = unix.FcntlInt(r.Console.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return fmt.Errorf("cannot keep console of %s: %w", r.ID, err)
		}
	}
	for i, b := range clients {
		fd, err := unix.FcntlInt(r.Attach[i].Conn.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			k.close()
			return fmt.Errorf("cannot keep client of %s: %w", r.ID, err)
		}
		k.clients = append(k.clients, keptClient{b, fd})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.kept[r.ID]; old != nil {
		if old.generation == r.Generation {
			old.clients, k.clients = append(old.clients, k.clients...), nil
			k.close()
			return nil
		}
		old.close()
	}
	c.kept[r.ID] = k
	return nil
}

// keepClient keeps the duplicate fd, unless there is one, or the client has gone.
func (c *Client) keepClient(b attachBody, fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept[b.ID]
	if k == nil || k.generation != b.Generation || c.early[letGoBody{b.ID, b.Generation, b.Client}] ||
		slices.ContainsFunc(k.clients, func(o keptClient) bool { return o.body.Client == b.Client }) {
		unix.Close(fd)
		return
	}
	k.clients = append(k.clients, keptClient{b, fd})
}

// keep keeps the descriptors that came with the description of a process, where there
// are none yet.
func (c *Client) keep(p *processBody, fds []int) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept[p.ID]
	if k == nil || k.generation != p.Generation {
		k = &kept{generation: p.Generation, console: -1, stdin: -1, inputOver: c.early[letGoBody{ID: p.ID, Generation: p.Generation}]}
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
	if c.early != nil {
		c.early[b] = true
	}
	k := c.kept[b.ID]
	if k == nil || k.generation != b.Generation {
		return
	}
	if b.Client != 0 {
		k.clients = slices.DeleteFunc(k.clients, func(o keptClient) bool {
			if o.body.Client == b.Client {
				unix.Close(o.fd)
			}
			return o.body.Client == b.Client
		})
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

// A gift is one message of handing over.
type gift struct {
	typ  uint16
	body any
	fds  []int
	gone letGoBody // what to let go when the keeper does not want it; none: zero
}

// gifts duplicates everything that is kept: processes may be forgotten meanwhile. next: the
// keeper is another one than that which was asked for them.
func (c *Client) gifts(next bool) (gs []gift) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dup := func(fd int) int {
		fd, _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return fd
	}
	for id, k := range c.kept {
		g := gift{typ: typeAdopt, body: adoptBody{ID: id, Generation: k.generation, HasConsole: k.console >= 0, HasStdin: k.stdin >= 0, HasPidfd: k.pidfd != nil,
			Begun: next && k.beginning.decide()}}
		if k.pidfd != nil {
			g.fds = append(g.fds, dup(int(k.pidfd.Fd())))
		}
		for _, fd := range []int{k.console, k.stdin} {
			if fd >= 0 {
				g.fds = append(g.fds, dup(fd))
			}
		}
		gs = append(gs, g)
		for _, cl := range k.clients {
			gs = append(gs, gift{typeAttach, cl.body, []int{dup(cl.fd)}, letGoBody{id, k.generation, cl.body.Client}})
		}
	}
	return gs
}

// handOver gives a keeper duplicates of all that is kept. A client that it does not
// want has nothing to wait for, unless its spawn was not answered and will be repeated.
func (c *Client) handOver(ctx context.Context, l *link) (failed error) {
	for _, g := range c.gifts(c.life.Load() != l.life) {
		if failed == nil {
			err := l.do(ctx, g.typ, g.body, g.fds, func(_ []byte, fds []int) { closeAll(fds) })
			switch {
			case err == nil || fault.Is(err, fault.NotFound):
			case g.typ == typeAttach && fault.Is(err, fault.Conflict):
				c.letGo(g.gone)
			default:
				failed = err
			}
		}
		closeAll(g.fds)
	}
	return failed
}
