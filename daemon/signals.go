package daemon

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/version"
)

// patience is how often the engine may be told to end before it ends without
// finishing what it does, as dockerd.
const patience = 3

// Run answers requests until ctx ends or the process is told to end:
//
//	SIGTERM, SIGINT  ends the engine, without live restore the containers; the third time at once
//	SIGHUP           reads the configuration again
//	SIGUSR1          writes what every goroutine does into a file in the exec root
func (d *Daemon) Run(ctx context.Context) error {
	told := make(chan os.Signal, 8)
	signal.Notify(told, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1)
	// Whoever reads our log may go away (a journal that restarts): the write fails then.
	// Not by ignoring the signal: that would be passed on to the keeper.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	ended := make(chan error, len(d.listeners))
	for _, l := range d.listeners {
		d.log.Info("API listen", "address", l.Addr().String())
		go func() { ended <- d.server.Serve(l) }()
	}
	d.tell(stateReady)
	d.log.Info("ready", "version", version.Version, "data-root", d.o.DataRoot, "exec-root", d.o.ExecRoot)
	for {
		select {
		case s := <-told:
			if d.isEnd(s) {
				go endAtOnce(told)
				return nil
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ignoring(ctx.Err(), context.Canceled)
		}
	}
}

// isEnd does what a signal asks for; of the end it says so.
func (d *Daemon) isEnd(s os.Signal) bool {
	switch s {
	case unix.SIGHUP:
		d.tell(stateReloading())
		if err := d.reload(); err != nil {
			d.log.Error("the configuration stays as it was", "error", err)
		}
		d.tell(stateReady)
	case unix.SIGUSR1:
		if path, err := d.dumpStacks(); err != nil {
			d.log.Error("cannot write the goroutines' stacks", "error", err)
		} else {
			d.log.Info("goroutine stacks written to " + path)
		}
	default:
		d.log.Info("ending", "signal", s.String())
		return true
	}
	return false
}

// endAtOnce ends the process when it is told to end for the last time.
func endAtOnce(told <-chan os.Signal) {
	n := 1
	for s := range told {
		if s != unix.SIGTERM && s != unix.SIGINT {
			continue
		}
		if n++; n >= patience {
			os.Exit(128 + int(s.(unix.Signal)))
		}
	}
}

// dumpStacks writes the stacks of all goroutines into a file of its own.
func (d *Daemon) dumpStacks() (string, error) {
	b := make([]byte, 64<<10)
	for {
		n := runtime.Stack(b, true)
		if n < len(b) {
			b = b[:n]
			break
		}
		b = make([]byte, 2*len(b))
	}
	path := filepath.Join(d.o.ExecRoot, fmt.Sprintf("goroutine-stacks-%s.log", time.Now().UTC().Format("2006-01-02T150405.000Z")))
	return path, os.WriteFile(path, b, 0o600)
}
