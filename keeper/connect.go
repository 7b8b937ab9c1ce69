package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hoy/lib/fault"
)

// readyEnv tells a keeper that someone waits on readyFD.
const readyEnv = "HOY_KEEPER_READY"

// How often and how long to try what fails only because a keeper begins or ends.
const (
	attempts     = 20
	attemptPause = 20 * time.Millisecond
)

// call sends a request, again to the next keeper when the one before died over it.
func (c *Client) call(ctx context.Context, typ uint16, body any, fds []int) (reply []byte, got []int, err error) {
	err = c.retry(ctx, func(l *link) error {
		return l.do(ctx, typ, body, fds, func(b []byte, f []int) { reply, got = b, f })
	})
	return reply, got, err
}

func (c *Client) retry(ctx context.Context, f func(*link) error) error {
	for {
		l, err := c.current(ctx)
		if err != nil {
			return err
		}
		if err = f(l); !errors.Is(err, errLinkDead) {
			return err
		}
		<-l.dead
		c.mu.Lock()
		if c.link == l {
			c.link = nil // whoever comes now waits for the next
		}
		c.mu.Unlock()
	}
}

// list calls f for everything the keeper holds.
func (c *Client) list(ctx context.Context, f func(p *processBody, fds []int)) error {
	return c.retry(ctx, func(l *link) error { return l.list(ctx, f, c.keepClient) })
}

// list calls f for each process, and client for each attached client.
func (l *link) list(ctx context.Context, f func(p *processBody, fds []int), client func(b attachBody, fd int)) error {
	var bad error
	err := l.do(ctx, typeList, empty{}, nil, func(body []byte, fds []int) {
		var r listReply
		if err := json.Unmarshal(body, &r); err != nil {
			bad = fmt.Errorf("cannot understand the keeper: %w", err)
		}
		if len(r.Clients) == len(fds) && len(r.Held) == 0 {
			for i, b := range r.Clients {
				client(b, fds[i])
			}
			return
		}
		for i := range r.Held {
			p := &r.Held[i]
			n := p.Outputs
			for _, has := range []bool{p.HasPidfd, p.HasStdin, p.HasConsole} {
				if has {
					n++
				}
			}
			n = max(0, min(n, len(fds)))
			f(p, fds[:n:n])
			fds = fds[n:]
		}
		closeAll(fds)
	})
	return errors.Join(err, bad)
}

// current returns the connection, waiting for one while there is hope.
func (c *Client) current(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, down, changed := c.link, c.down, c.changed
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return nil, errClosed
		case l != nil:
			return l, nil
		case down != nil:
			return nil, down
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Client) set(l *link, down error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.down = l, down
	close(c.changed)
	c.changed = make(chan struct{})
}

// connect finds or starts a keeper and brings it and the client into step. A keeper
// that goes meanwhile, because it was just ending, is followed by another try.
func (c *Client) connect(ctx context.Context, again bool) (err error) {
	for range attempts {
		if err = c.connectOnce(ctx, again); !errors.Is(err, errLinkDead) {
			return err
		}
		select {
		case <-time.After(attemptPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (c *Client) connectOnce(ctx context.Context, again bool) error {
	s, err := reach(ctx, c.o, again)
	if err != nil {
		return err
	}
	l := newLink(s)
	go l.read(c)
	if err := c.renew(ctx, l); err != nil {
		l.end()
		<-l.dead
		return err
	}
	c.mu.Lock()
	c.early = map[letGoBody]bool{}
	c.mu.Unlock()
	err = c.greet(ctx, l)
	c.mu.Lock()
	c.early = nil
	c.mu.Unlock()
	if err != nil {
		l.end()
		<-l.dead
		return err
	}
	was := c.life.Swap(l.life)
	c.set(l, nil)
	go c.watch(l)
	if was != 0 && was != l.life && c.o.Rehold != nil {
		go c.o.Rehold(c.ctx)
	}
	return nil
}

// greet hands over what was kept for such a case, and learns of exits.
func (c *Client) greet(ctx context.Context, l *link) error {
	nothing := func(_ []byte, fds []int) { closeAll(fds) }
	if err := c.handOver(ctx, l); err != nil {
		return err
	}
	if err := l.do(ctx, typeAdopt, adoptBody{Done: true}, nil, nothing); err != nil {
		return err
	}
	return l.list(ctx, func(p *processBody, fds []int) {
		if p.Exit != nil {
			closeAll(fds)
			c.tell(*p.Exit)
			return
		}
		c.keep(p, fds)
	}, c.keepClient)
}

// watch replaces the keeper when it dies.
func (c *Client) watch(l *link) {
	<-l.dead
	c.set(nil, nil)
	for pause := restartPause; c.ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
		err := c.connect(ctx, true)
		cancel()
		if err == nil {
			select {
			case c.lost <- struct{}{}:
			default:
			}
			return
		}
		c.set(nil, fault.New(fault.Unavailable, "the keeper has died and cannot be replaced: %w", err))
		select {
		case <-time.After(pause):
		case <-c.ctx.Done():
		}
	}
}
