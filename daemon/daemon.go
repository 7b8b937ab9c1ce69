// Package daemon puts the engine together, runs it and ends it.
package daemon

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"

	"hoy/build"
	"hoy/container"
	"hoy/container/spec"
	"hoy/lib/cleanup"
	"hoy/registry"
	"hoy/server"
	"hoy/volume"
)

// Daemon is an engine: everything below the API, opened in order.
//
//	d, err := daemon.New(ctx, options)
//	err = d.Run(ctx)    // until SIGTERM, SIGINT or the end of ctx
//	err = d.Close()     // the containers run on, unless the options say otherwise
type Daemon struct {
	o      Options                 // as at the start
	now    atomic.Pointer[Options] // as they are
	log    *slog.Logger
	level  *slog.LevelVar // nil: the log is the caller's
	server *server.Server

	id         string
	host       spec.Host // what the machine offers
	bus        *container.Bus
	containers *container.Containers
	images     images
	registries atomic.Pointer[registry.Client] // by the present options
	volumes    *volume.Store
	builder    *build.Builder
	guard      *guard
	measures   *measures
	listeners  []net.Listener
	closers    cleanup.Stack // last opened is closed first
}

// New opens an engine: it takes the roots, connects to the keeper or starts one,
// restores the containers and listens. When it fails, nothing stays.
func New(ctx context.Context, o Options) (_ *Daemon, err error) {
	o.complete()
	if err := cmp.Or(needRoot(), needMount("/")); err != nil {
		return nil, err
	}
	log, level, err := o.logger(os.Stderr)
	if err != nil {
		return nil, err
	}
	closeOnExec() // before the keeper is started
	// Requests make little garbage; collecting half as often costs a few MB.
	debug.SetGCPercent(200)
	d := &Daemon{o: o, log: log, level: level}
	d.now.Store(&d.o)
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.lock(); err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	if d.listeners, err = d.o.listen(); err != nil {
		return nil, err
	}
	for _, host := range d.o.Hosts {
		if text := d.o.exposed(host); text != "" {
			log.Warn(text)
		}
	}
	d.closers.Add(func() { closeAll(ctx, d.listeners) })
	if err := d.serveMetrics(); err != nil {
		return nil, err
	}
	giveBack()
	return d, nil
}

func (d *Daemon) lock() error {
	unlock, err := lockRoots(&d.o)
	if err != nil {
		return err
	}
	d.closers.Add(unlock)
	if err := writePidfile(d.o.Pidfile); err != nil {
		return err
	}
	if d.o.Pidfile != "" {
		d.closers.Add(func() { os.Remove(d.o.Pidfile) })
	}
	return nil
}

func (d *Daemon) closing(what string, c io.Closer) {
	d.closers.Add(func() {
		if err := c.Close(); err != nil {
			d.log.Warn("cannot close", "part", what, "error", err)
		}
	})
}

// Close ends the engine. The containers run on, held by the keeper, or without live
// restore are stopped, while requests are still answered: who waits for one's end is told.
func (d *Daemon) Close() error {
	var err error
	if d.server != nil {
		d.tell(stateStopping)
		if o := d.options(); !o.LiveRestore {
			d.containers.Shutdown(o.shutdownTimeout())
		}
		ctx := context.Background()
		if t := d.options().shutdownTimeout(); t >= 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, t)
			defer cancel()
		}
		err = ignoring(d.server.Shutdown(ctx), context.DeadlineExceeded)
	}
	d.closers.Run()
	return err
}
