package container

import (
	"context"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/fault"
	"hoy/lib/rawconn"
)

// connect gives the client to the running process or keeps it for the next one.
func (c *Containers) connect(ctx context.Context, k *Container, a keeper.Attachment) error {
	k.mu.Lock()
	if k.process == nil {
		defer k.mu.Unlock()
		if k.removing || c.index.gone(k) {
			return fault.New(fault.Conflict, "container is marked for removal and cannot be attached to")
		}
		k.pending = append(k.pending, a)
		go k.dropGone(a.Conn)
		return nil
	}
	k.process.read = k.process.read || reads(a)
	k.mu.Unlock()
	return c.o.Keeper.Attach(context.WithoutCancel(ctx), k.id, a)
}

// reads tells whether the client gets output.
func reads(a keeper.Attachment) bool { return a.Stdout || a.Stderr }

// dropGone drops a client that hangs up while it waits. It returns at the latest when the
// keeper has the client, for then the engine's own file of the connection is closed.
func (k *Container) dropGone(conn *os.File) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	if err := rawconn.Read(raw, hungUp); err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.IndexFunc(k.pending, func(a keeper.Attachment) bool { return a.Conn == conn }); i >= 0 {
		k.pending = slices.Delete(k.pending, i, i+1)
		conn.Close()
	}
}

// hungUp tells of a client whose connection has ended both ways: one that has merely sent
// all of its input waits for the output.
func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// takePending takes the clients that wait.
func (k *Container) takePending() []keeper.Attachment {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.pending
	k.pending = nil
	return l
}

func closeAttachments(l []keeper.Attachment) {
	for _, a := range l {
		a.Conn.Close() // closed already where a spawn has taken it
	}
}
