// Package daemon puts the engine together, runs it and ends it.
package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/container"
	"hoy/image"
	"hoy/keeper"
	"hoy/lib/atomicfile"
	"hoy/lib/cleanup"
	"hoy/lib/version"
	"hoy/linux/cgroup"
	"hoy/network"
	"hoy/runtime"
	"hoy/server"
	"hoy/snapshot"
	"hoy/toolbox"
	"hoy/volume"
)

// Daemon is an engine: everything below the API, opened in order.
//
//	d, err := daemon.New(ctx, options)
//	err = d.Run(ctx)    // until SIGTERM, SIGINT or the end of ctx
//	err = d.Close()     // the containers run on
type Daemon struct {
	o      Options
	log    *slog.Logger
	server *server.Server

	containers *container.Containers
	images     images
	listeners  []net.Listener
	closers    cleanup.Stack // last opened is closed first
}

// New opens an engine: it takes the roots, connects to the keeper or starts one,
// restores the containers and listens. When it fails, nothing stays.
func New(ctx context.Context, o Options) (_ *Daemon, err error) {
	o.complete()
	if err := needRoot(); err != nil {
		return nil, err
	}
	log, err := o.logger(os.Stderr)
	if err != nil {
		return nil, err
	}
	// Requests make little garbage; collecting half as often costs a few MB.
	debug.SetGCPercent(200)
	d := &Daemon{o: o, log: log}
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
	d.closers.Add(func() { closeAll(ctx, d.listeners) })
	debug.FreeOSMemory() // what the start needed
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

// open opens the parts, each standing on those before.
func (d *Daemon) open(ctx context.Context) error {
	o, log := &d.o, d.log
	groups, err := cgroup.Open("")
	if err != nil {
		return err
	}
	d.closing("cgroups", groups)
	keeperPath, err := o.keeperPath()
	if err != nil {
		return err
	}
	initPath := o.initPath(keeperPath)
	rt, err := runtime.New(runtime.Config{Cgroups: groups, InitPath: initPath})
	if err != nil {
		return err
	}
	d.closers.Add(rt.Close)
	kept, err := keeper.Start(ctx, keeper.Options{Exec: keeperPath, ExecRoot: o.ExecRoot})
	if err != nil {
		return err
	}
	d.closing("keeper", kept)

	store, err := image.Open(ctx, image.Options{Root: filepath.Join(o.DataRoot, "image"), MaxUnpacked: o.MaxLayerSize})
	if err != nil {
		return err
	}
	d.closing("image store", store)
	layers, err := snapshot.Open(filepath.Join(o.DataRoot, "layers"))
	if err != nil {
		return err
	}
	d.closing("layers", layers)
	vols, err := volume.Open(filepath.Join(o.DataRoot, "volumes"))
	if err != nil {
		return err
	}
	d.closing("volumes", vols)
	nets, err := network.Open(ctx, network.Options{
		Root: filepath.Join(o.DataRoot, "network"), Bridge: o.Bridge, BIP: o.BIP, Pools: o.Pools, MTU: o.MTU,
		NoMasq: !o.IPMasq, UserMap: o.UserMap, Log: log,
	})
	if err != nil {
		return err
	}
	d.closing("networks", nets)

	gateway := o.HostGateway
	if !gateway.IsValid() {
		gateway = nets.Gateway()
	}
	host := o.host(groups)
	bus := container.NewBus()
	containers, err := container.Open(ctx, container.Options{
		Root: filepath.Join(o.DataRoot, "containers"), ExecRoot: o.ExecRoot,
		Images: store, Layers: layers, Volumes: vols, Networks: nets, Runtime: rt, Keeper: kept, Cgroups: groups, Events: bus,
		Host: host, CgroupParent: o.CgroupParent, UserMap: o.UserMap, HostGateway: gateway,
		DNS: o.DNS, DNSSearch: o.DNSSearch, DNSOptions: o.DNSOptions, LogOptions: o.LogOpts, Log: log,
	})
	if err != nil {
		return err
	}
	d.closers.Add(func() { d.dropGroup(groups, containers) })
	d.closing("containers", containers)
	store.Collect(containers.Chains)
	nets.Start() // what running containers have is adopted: the rest may be given away
	containers.Supervise()

	id, err := engineID(o.DataRoot)
	if err != nil {
		return err
	}
	imgs := images{store, containers, bus}
	d.containers, d.images = containers, imgs
	if err := installToolbox(ctx, imgs); err != nil {
		log.Warn("the built-in image is not available", "error", err)
	}
	d.server = server.New(server.Options{
		Containers: containers, Images: imgs, Volumes: volumes{vols, bus}, Networks: networks{nets, containers, time.Now()},
		System:  &about{o: o, id: id, host: host, mode: groups.Mode().String(), initPath: initPath, images: imgs, containers: containers, bus: bus},
		Version: version.Version, Experimental: o.Experimental, Log: log,
	})
	return nil
}

// dropGroup removes this engine's own cgroup when nothing is left in it.
func (d *Daemon) dropGroup(groups *cgroup.Host, c *container.Containers) {
	if running, paused, _ := c.Count(); running+paused > 0 || !d.o.ownGroup {
		return
	}
	if err := groups.Load(d.o.CgroupParent).Remove(); err != nil {
		d.log.Debug("cannot remove the engine's cgroup", "error", err)
	}
}

func (d *Daemon) closing(what string, c io.Closer) {
	d.closers.Add(func() {
		if err := c.Close(); err != nil {
			d.log.Warn("cannot close", "part", what, "error", err)
		}
	})
}

// installToolbox brings in the built-in image where it is missing or older.
func installToolbox(ctx context.Context, i images) error {
	present := ""
	if img, err := i.store.Get(ctx, toolbox.Ref); err == nil {
		present = img.Config.Config.Labels[toolbox.Label]
	}
	return toolbox.Install(ctx, present, func(ctx context.Context, archive io.Reader, changes []string, created time.Time) error {
		_, err := i.store.Import(ctx, archive, image.ImportOptions{Ref: toolbox.Ref, Message: "built into hoyd", Changes: changes, Created: created})
		return err
	})
}

// engineID is a name for this data root, made at its first use.
func engineID(root string) (string, error) {
	path := filepath.Join(root, "engine-id")
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	h := hex.EncodeToString(b[:])
	id := fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
	return id, atomicfile.WriteSync(path, []byte(id+"\n"), 0o600)
}

// Run answers requests until ctx ends or the process is told to end.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer signal.Stop(told)
	ended := make(chan error, len(d.listeners))
	for _, l := range d.listeners {
		d.log.Info("API listen", "address", l.Addr().String())
		go func() { ended <- d.server.Serve(l) }()
	}
	d.log.Info("ready", "version", version.Version, "data-root", d.o.DataRoot, "exec-root", d.o.ExecRoot)
	for {
		select {
		case s := <-told:
			if s == unix.SIGHUP {
				d.log.Info("nothing of the configuration can change while the engine runs")
				continue
			}
			d.log.Info("ending", "signal", s.String())
			return nil
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ignoring(ctx.Err(), context.Canceled)
		}
	}
}

// shutdownTime is how long requests may go on after the engine was told to end.
const shutdownTime = 2 * time.Second

// Close ends the engine. The containers run on, held by the keeper.
func (d *Daemon) Close() error {
	var err error
	if d.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		err = ignoring(d.server.Shutdown(ctx), context.DeadlineExceeded)
	}
	d.closers.Run()
	return errors.Join(err)
}
