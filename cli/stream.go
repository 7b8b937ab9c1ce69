package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"

	"hoy/cli/terminal"
	"hoy/client"
)

// errDetached says that the user typed the detach keys.
var errDetached = errors.New("read escape sequence")

// left says on the terminal that the user has left a container, which goes on, and
// returns how the command ends by that. To leave what one has started is its good end;
// to leave what runs anyhow, or a command in it, is code 1, as with docker.
func (a *app) left(err error, good bool) error {
	if !errors.Is(err, errDetached) {
		return err
	}
	fmt.Fprintln(a.Err, "\r\n"+errDetached.Error())
	if good {
		return nil
	}
	return &exit{code: codeFailure}
}

// wiring says how a container's streams meet ours.
type wiring struct {
	in       io.Reader // nil: none
	out, err io.Writer // nil: not attached
	tty      bool
	keys     string // detach keys, "" for the default

	typed *typed // of in; nil before the first stream
}

// output copies the container's output to ours until it ends. Errors of reading are
// its end, too; errors of writing are returned.
func (w wiring) output(s *client.Stream) error {
	out, errs := writer{w: w.out}, writer{w: w.err}
	if w.tty || s.Known && !s.Mux {
		io.Copy(&out, s)
	} else {
		stdcopy.StdCopy(&out, &errs, s)
	}
	if out.err != nil {
		return out.err
	}
	return errs.err
}

// writer remembers that writing failed, which io.Copy does not tell from reading.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	if w.w == nil {
		return len(p), nil
	}
	n, err := w.w.Write(p)
	w.err = err
	return n, err
}

// copy connects the streams until the output ended or the user detached.
func (w *wiring) copy(ctx context.Context, s *client.Stream) error {
	detached, stop, err := w.input(s)
	if err != nil {
		return err
	}
	defer stop()
	drained := make(chan error, 1)
	go func() { drained <- w.output(s) }()
	select {
	case err := <-drained:
		return err
	case err := <-detached:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// raw makes our terminal raw for a container with a terminal, and restores it also
// when a signal ends us.
func (w wiring) raw(a *app) (restore func(), err error) {
	if !w.tty || w.in == nil {
		return func() {}, nil
	}
	undo, err := terminal.Raw(a.In, a.Out)
	if err != nil {
		return nil, err
	}
	sig, stop := terminal.Fatal()
	done := make(chan struct{})
	go func() {
		select {
		case s := <-sig:
			undo()
			os.Exit(terminal.ExitCode(s))
		case <-done:
		}
	}()
	return func() { stop(); close(done); undo() }, nil
}

// watchSize keeps the container's terminal as large as ours, from now on.
func (a *app) watchSize(resize func(rows, cols uint16) error) (stop func()) {
	changed, unhook := terminal.Resized()
	done := make(chan struct{})
	go func() {
		for {
			if rows, cols := terminal.Size(a.Out); rows != 0 && cols != 0 {
				resize(rows, cols) // a container that ended meanwhile has no size
			}
			select {
			case <-changed:
			case <-done:
				return
			}
		}
	}()
	return func() { unhook(); close(done) }
}

// proxy passes our signals on to a container. Those that come before begin is
// called wait for it.
func (a *app) proxy(ctx context.Context, c *client.Client, id string) (begin, stop func()) {
	sig, unhook := terminal.Signals()
	started, done := make(chan struct{}), make(chan struct{})
	go func() {
		select {
		case <-started:
		case <-done:
			return
		}
		impatient := 0
		for {
			select {
			case s := <-sig:
				name := terminal.Forwarded(s)
				if name == "" {
					continue
				}
				if name == "INT" || name == "TERM" {
					impatient++
				}
				if impatient >= 3 {
					fmt.Fprintln(a.Err, "\ngot 3 SIGTERM/SIGINTs, forcefully exiting")
					os.Exit(codeFailure)
				}
				c.ContainerKill(ctx, id, name) // it may have ended
			case <-done:
				return
			}
		}
	}()
	return func() { close(started) }, func() { unhook(); close(done) }
}

// patience is how long we wait for an engine that is being restarted.
const patience = 10 * time.Second

// again repeats f while the engine is away, for as long as we are patient.
func again(ctx context.Context, f func() error) error {
	pause := 10 * time.Millisecond
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if !client.Lost(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 200*time.Millisecond)
	}
}

// result is how a container ended.
type result struct {
	code int
	err  error
}

// await waits for the end of a container, over restarts of the engine. w is a wait
// that is registered already.
func await(ctx context.Context, c *client.Client, id string, w *client.Waiting, cond container.WaitCondition) <-chan result {
	began := time.Now()
	out := make(chan result, 1)
	go func() {
		r, err := w.Result()
		if client.Lost(err) {
			if cond == container.WaitConditionNextExit {
				cond = container.WaitConditionNotRunning // it may have ended meanwhile
			}
			err = again(ctx, func() error {
				w, err := c.ContainerWait(ctx, id, cond)
				if err == nil {
					r, err = w.Result()
				}
				return err
			})
		}
		if client.StatusOf(err) == 404 && cond == container.WaitConditionRemoved {
			out <- exitFromEvents(ctx, c, id, began)
			return
		}
		if err == nil && r.Error != nil && r.Error.Message != "" {
			err = errors.New(r.Error.Message)
		}
		out <- result{int(r.StatusCode), err}
	}()
	return out
}

// exitFromEvents finds the exit code of a container that was removed while the
// engine was restarting.
func exitFromEvents(ctx context.Context, c *client.Client, id string, since time.Time) result {
	ev, err := c.Events(ctx, stamp(since), stamp(time.Now()), client.Filters{"container": {id}, "event": {"die"}})
	if err != nil {
		return result{codeEngine, err}
	}
	defer ev.Close()
	lost := result{codeEngine, fmt.Errorf("the container %s was removed while the engine was away: its exit code is unknown", id)}
	for {
		m, err := ev.Next()
		if err != nil {
			return lost
		}
		code := 0
		if _, err := fmt.Sscan(m.Actor.Attributes["exitCode"], &code); err == nil {
			lost = result{code: code}
		}
	}
}

// stamp is a time as the API takes it: seconds and nanoseconds.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }
