package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/spawn"
)

// link is one connection to a keeper.
type link struct {
	*socket
	dead chan struct{} // closed when nothing comes any more
	life uint64        // of the keeper; see helloReply

	mu      sync.Mutex
	seq     uint64
	pending map[uint64]chan reply
}

type reply struct {
	header
	body []byte
	fds  []int
}

func newLink(s *socket) *link {
	return &link{socket: s, dead: make(chan struct{}), pending: map[uint64]chan reply{}}
}

// read passes replies to those who wait, and events to c, until the keeper goes.
func (l *link) read(c *Client) {
	defer close(l.dead)
	defer l.Close()
	for {
		msg, fds, err := l.receive()
		if err != nil {
			return
		}
		h, body, err := parse(msg)
		switch {
		case err != nil && fault.Is(err, fault.Conflict): // another version answers
			h.status, body = statusFault+uint32(fault.Conflict), nil
			body, _ = json.Marshal(failureBody{Error: err.Error()})
			l.pass(reply{h, body, fds})
		case err != nil:
			closeAll(fds)
			return
		case h.typ == typeExit:
			closeAll(fds)
			var e Exit
			if json.Unmarshal(body, &e) == nil {
				c.tell(e)
			}
		case h.typ == typeLetGo:
			closeAll(fds)
			var b letGoBody
			if json.Unmarshal(body, &b) == nil {
				c.letGo(b)
			}
		default:
			l.pass(reply{h, append([]byte(nil), body...), fds})
		}
	}
}

// pass gives a reply to the one who waits for it.
func (l *link) pass(r reply) {
	l.mu.Lock()
	ch := l.pending[r.seq]
	l.mu.Unlock()
	if ch == nil {
		closeAll(r.fds) // its context has ended
		return
	}
	ch <- r
}

// end makes read return.
func (l *link) end() {
	l.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

var errLinkDead = errors.New("the keeper has gone")

// do sends one request and calls each for every reply to it.
func (l *link) do(ctx context.Context, typ uint16, body any, fds []int, each func(body []byte, fds []int)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ch := make(chan reply, 64)
	l.mu.Lock()
	l.seq++
	seq := l.seq
	l.pending[seq] = ch
	l.mu.Unlock()
	defer l.abandon(seq, ch)
	msg, err := encode(typ, seq, statusOK, body)
	if err != nil {
		return err
	}
	if err := l.send(msg, fds); err != nil {
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrClosed) {
			return errLinkDead
		}
		return fmt.Errorf("cannot ask the keeper: %w", err)
	}
	for {
		var r reply
		select {
		case r = <-ch:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.dead:
			select {
			case r = <-ch: // it came before the end
			default:
				return errLinkDead
			}
		}
		if r.status >= statusFault {
			closeAll(r.fds)
			return replyError(r)
		}
		each(r.body, r.fds)
		if r.status != statusMore {
			return nil
		}
	}
}

// abandon forgets a request; late replies are closed.
func (l *link) abandon(seq uint64, ch chan reply) {
	l.mu.Lock()
	delete(l.pending, seq)
	l.mu.Unlock()
	for {
		select {
		case r := <-ch:
			closeAll(r.fds)
		default:
			return
		}
	}
}

func replyError(r reply) error {
	var b failureBody
	if json.Unmarshal(r.body, &b) != nil || b.Error == "" {
		b.Error = "the keeper gives no reason"
	}
	if b.Step != nil {
		return &spawn.StepError{Index: b.Step.Index, Errno: unix.Errno(b.Step.Errno), Killed: b.Step.Killed}
	}
	return fault.New(fault.Kind(r.status-statusFault), "%s", b.Error)
}
