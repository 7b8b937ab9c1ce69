package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

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
	c.set(l, nil)
	go c.watch(l)
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

// reach connects to a keeper, starting one if there is none.
func reach(ctx context.Context, o Options, again bool) (*socket, error) {
	if err := os.MkdirAll(o.ExecRoot, 0o711); err != nil {
		return nil, fmt.Errorf("cannot start keeper: %w", err)
	}
	path := filepath.Join(o.ExecRoot, "keeper.sock")
	var err error
	for range attempts {
		var s *socket
		if s, err = dial(path); err == nil {
			return s, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EAGAIN) {
			return nil, err
		}
		if err = launch(ctx, o, again); err != nil && !errors.Is(err, errRunning) {
			return nil, err
		}
		if err != nil { // another one is just starting, or just ending
			select {
			case <-time.After(attemptPause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return nil, err
}

// launch starts a keeper as a daemon, and returns when it can be connected to.
func launch(ctx context.Context, o Options, again bool) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(o.ExecRoot, "keeper.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	defer r.Close()
	p, err := os.StartProcess(o.Exec, []string{"hoy-keeper", "--exec-root", o.ExecRoot}, &os.ProcAttr{
		Dir: "/", Env: keeperEnv(again), Files: []*os.File{null, log, log, w}, Sys: o.birth()})
	w.Close()
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	go p.Wait() // reaps it, should it die before its engine
	if d, ok := ctx.Deadline(); ok {
		r.SetReadDeadline(d)
	}
	said := make([]byte, 4096)
	n, err := r.Read(said)
	switch text := string(said[:n]); {
	case text == "ready":
		return nil
	case strings.Contains(text, errRunning.Error()):
		return errRunning
	case text != "":
		return fmt.Errorf("cannot start keeper: %s", text)
	case err != nil:
		return fmt.Errorf("cannot start keeper: it said nothing and ended: see %s: %w", log.Name(), err)
	}
	return nil
}

// keeperEnv is the keeper's environment: nothing of the engine's, which may hold
// secrets, but what tests need. A successor does not get the failpoints at which its
// predecessor died, or it would die there too.
func keeperEnv(again bool) []string {
	env := []string{readyEnv + "=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "GOCOVERDIR=") || strings.HasPrefix(e, "HOY_FAILPOINT") && !(again && strings.HasPrefix(e, "HOY_FAILPOINT=")) {
			env = append(env, e)
		}
	}
	return env
}

// birth is how a keeper is started: beside us, not below.
func (o *Options) birth() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if o.Cgroup != nil {
		a.UseCgroupFD, a.CgroupFD = true, int(o.Cgroup.Fd())
	}
	return a
}
