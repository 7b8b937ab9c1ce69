package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"hoy/cli/progress"
	"hoy/cli/terminal"
	"hoy/client"
)

// show shows the progress of f on w. A signal ends it: the engine stops when its client
// goes, and keeps what it has for the next time.
func (a *app) show(ctx context.Context, w io.Writer, quiet bool, f func(context.Context, client.Progress) error) error {
	if quiet {
		w = io.Discard
	}
	d, stop := display(w)
	err := untilSignal(ctx, func(ctx context.Context) error { return f(ctx, d.Show) })
	stop()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// untilSignal runs f, whose context ends by a signal that ends us.
func untilSignal(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sig, unhook := terminal.Fatal()
	defer unhook()
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	select {
	case err := <-ended:
		return err
	case s := <-sig:
		cancel()
		<-ended
		return &exit{terminal.ExitCode(s), errors.New("interrupted")}
	}
}

// redrawing is how often a board is drawn when nothing comes.
const redrawing = 500 * time.Millisecond

// display is a board on a terminal, and lines elsewhere.
func display(w io.Writer) (d progress.Display, stop func()) {
	if !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return progress.Lines(w), func() {}
	}
	b := progress.NewBoard(w, sizeOf(w), time.Now)
	return b, redraw(b.Redraw)
}

// sizeOf returns how to ask for the size of the terminal w.
func sizeOf(w io.Writer) func() (rows, cols int) {
	return func() (rows, cols int) {
		r, c := terminal.Size(w)
		return int(r), int(c)
	}
}

// redraw draws now and then, and when the window changes its size, until stopped.
func redraw(draw func()) (stop func()) {
	resized, unhook := terminal.Resized()
	tick := time.NewTicker(redrawing)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-resized:
			case <-tick.C:
			case <-done:
				return
			}
			draw()
		}
	}()
	return func() { unhook(); tick.Stop(); close(done); <-gone }
}
