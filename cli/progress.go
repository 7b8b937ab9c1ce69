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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if quiet {
		w = io.Discard
	}
	d, stop := display(w)
	sig, unhook := terminal.Fatal()
	defer unhook()
	ended := make(chan error, 1)
	go func() { ended <- f(ctx, d.Show) }()
	var err error
	select {
	case err = <-ended:
	case s := <-sig:
		cancel()
		<-ended
		err = &exit{terminal.ExitCode(s), errors.New("interrupted")}
	}
	stop()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// redrawing is how often a board is drawn when nothing comes.
const redrawing = 500 * time.Millisecond

// display is a board on a terminal, and lines elsewhere.
func display(w io.Writer) (d progress.Display, stop func()) {
	if !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return progress.Lines(w), func() {}
	}
	b := progress.NewBoard(w, func() (rows, cols int) {
		r, c := terminal.Size(w)
		return int(r), int(c)
	}, time.Now)
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
			b.Redraw()
		}
	}()
	return b, func() { unhook(); tick.Stop(); close(done); <-gone }
}
