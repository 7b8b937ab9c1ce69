package cli

import (
	"context"
	"errors"
	"time"

	"github.com/moby/moby/api/types/container"

	"hoy/client"
)

// attached is a container that we are attached to: opened before it starts, so that
// nothing of its output and of its end is missed.
type attached struct {
	a       *app
	c       *client.Client
	id      string
	opts    client.AttachOptions
	wire    wiring
	running bool           // it was when we attached
	stream  *client.Stream // nil when no stream is attached
	ended   <-chan result
}

// open attaches and registers a wait, at once, each on a connection of its own.
func (t *attached) open(ctx context.Context, cond container.WaitCondition) error {
	type waited struct {
		w   *client.Waiting
		err error
	}
	ch := make(chan waited, 1)
	go func() {
		w, err := t.c.ContainerWait(ctx, t.id, cond)
		ch <- waited{w, err}
	}()
	var err error
	if t.opts.Stdin || t.opts.Stdout || t.opts.Stderr {
		t.stream, err = t.c.ContainerAttach(ctx, t.id, t.opts)
	}
	w := <-ch
	if err = errors.Join(err, w.err); err != nil {
		t.close()
		return err
	}
	t.ended = await(ctx, t.c, t.id, w.w, cond)
	return nil
}

func (t *attached) close() {
	if t.stream != nil {
		t.stream.Close()
	}
}

// tty watches the size of our terminal for the container's.
func (t *attached) tty(ctx context.Context) (stop func()) {
	if !t.wire.tty || !isTerminal(t.a.Out) {
		return func() {}
	}
	return t.a.watchSize(func(rows, cols uint16) error { return t.c.ContainerResize(ctx, t.id, rows, cols) })
}

// copy copies until the output ended or the user detached. A container that was running
// may have ended while we attached: then what it printed is here at once if we were in
// time, and otherwise the stream waits for its next start.
func (t *attached) copy(ctx context.Context) error {
	late := ctx
	if t.running {
		if now, _, err := t.c.ContainerInspect(ctx, t.id, false); err == nil && now.State != nil && !now.State.Running {
			var stop context.CancelFunc
			late, stop = context.WithTimeout(ctx, time.Second)
			defer stop()
		}
	}
	err := t.wire.copy(late, t.stream)
	if late.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// hold copies until the container ended or the user detached, and returns the exit, or
// errDetached.
func (t *attached) hold(ctx context.Context) error {
	for t.stream != nil {
		err := t.copy(ctx)
		if err != nil {
			return err
		}
		select {
		case r := <-t.ended:
			return t.exit(r)
		case <-time.After(time.Second):
		}
		// The output is at its end, the container not: the stream broke, or the
		// container takes its time to be removed.
		if err := t.reopen(ctx); err != nil {
			break
		}
	}
	select {
	case r := <-t.ended:
		return t.exit(r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errEnded says that there is nothing to attach to any more.
var errEnded = errors.New("the container is not running")

// reopen attaches again to a container that still runs.
func (t *attached) reopen(ctx context.Context) error {
	t.stream.Close()
	return again(ctx, func() error {
		now, _, err := t.c.ContainerInspect(ctx, t.id, false)
		if err != nil {
			return err
		}
		if now.State == nil || !now.State.Running {
			return errEnded
		}
		o := t.opts
		o.Logs = false
		t.stream, err = t.c.ContainerAttach(ctx, t.id, o)
		t.running = true
		return err
	})
}

// exit turns the container's end into ours.
func (t *attached) exit(r result) error {
	if r.err != nil {
		return &exit{codeEngine, r.err}
	}
	if r.code != 0 {
		return &exit{code: r.code}
	}
	return nil
}
