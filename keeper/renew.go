package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"hoy/lib/fault"
)

// renewAgain is how long a keeper that was too busy is left in peace.
const renewAgain = 30 * time.Second

// renew says hello, and has a keeper of another build replaced by ours, which ends the
// connection: errLinkDead.
func (c *Client) renew(ctx context.Context, l *link) error {
	var hello helloReply
	err := l.do(ctx, typeHello, empty{}, nil, func(body []byte, fds []int) {
		closeAll(fds)
		json.Unmarshal(body, &hello)
	})
	l.life = hello.Life
	if fault.Is(err, fault.Conflict) { // of another version: it ends the connection now
		return c.replaceOther(ctx, err)
	}
	if err != nil {
		return err
	}
	ours, program, err := c.program()
	if err != nil || hello.Build == "" || hello.Build == ours || !c.mayRenew() {
		return err
	}
	err = l.do(ctx, typeUpgrade, upgradeBody{program}, nil, func(_ []byte, fds []int) { closeAll(fds) })
	if errors.Is(err, errLinkDead) || ctx.Err() != nil {
		return err
	}
	if c.o.Warn != nil {
		c.o.Warn(err)
	}
	if fault.Is(err, fault.Unavailable) {
		time.AfterFunc(renewAgain, c.renewLater)
	}
	return nil // the old one will do
}

// renewLater asks again, by a connection of its own: what is tied to the other would end
// with that.
func (c *Client) renewLater() {
	ours, program, err := c.program()
	if err != nil || c.ctx.Err() != nil {
		return
	}
	s, err := dial(filepath.Join(c.o.ExecRoot, "keeper.sock"))
	if err != nil {
		return // it has gone: the next one is ours
	}
	l := newLink(s)
	go l.read(c)
	defer l.end()
	var hello helloReply
	err = l.do(c.ctx, typeHello, empty{}, nil, func(body []byte, fds []int) {
		closeAll(fds)
		json.Unmarshal(body, &hello)
	})
	if err != nil || hello.Build == "" || hello.Build == ours {
		return
	}
	err = l.do(c.ctx, typeUpgrade, upgradeBody{program}, nil, func(_ []byte, fds []int) { closeAll(fds) })
	if fault.Is(err, fault.Unavailable) {
		time.AfterFunc(renewAgain, c.renewLater)
	}
}

// mayRenew is true once: a keeper that stays as it is must do.
func (c *Client) mayRenew() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.renewed
	c.renewed = true
	return !was
}

// replaceOther asks a keeper of another version, which said why, to make place.
func (c *Client) replaceOther(ctx context.Context, why error) error {
	_, program, err := c.program()
	if err != nil || !c.mayRenew() {
		return why
	}
	s, err := dial(filepath.Join(c.o.ExecRoot, "keeper.sock"))
	if err != nil {
		return why
	}
	l := newLink(s)
	go l.read(c)
	defer l.end()
	err = l.do(ctx, typeUpgrade, upgradeBody{program}, nil, func(_ []byte, fds []int) { closeAll(fds) })
	if !errors.Is(err, errLinkDead) {
		return why
	}
	return err
}

// program is the keeper's program that we would start.
func (c *Client) program() (build, path string, err error) {
	if path, err = filepath.Abs(c.o.Exec); err == nil {
		build, err = buildOf(path)
	}
	if err != nil {
		return "", "", fmt.Errorf("cannot read the keeper's program: %w", err)
	}
	return build, path, nil
}
