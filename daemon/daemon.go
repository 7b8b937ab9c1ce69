// Package daemon puts the engine together, runs it and ends it.
package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hoy/build"
	"hoy/container"
	"hoy/container/spec"
	"hoy/image"
	"hoy/image/confine"
	"hoy/keeper"
	"hoy/lib/atomicfile"
	"hoy/lib/cleanup"
	"hoy/lib/fault"
	"hoy/lib/version"
	"hoy/linux/cgroup"
	"hoy/network"
	"hoy/registry"
	"hoy/runtime"
	"hoy/server"
	"hoy/signature"
	"hoy/snapshot"
	"hoy/toolbox"
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

// open opens the parts, each standing on those before.
func (d *Daemon) open(ctx context.Context) error {
	o, log := &d.o, d.log
	groups, err := cgroup.Open("")
	if err != nil {
		return err
	}
	d.closing("cgroups", groups)
	if o.CPURTPeriod != 0 || o.CPURTRuntime != 0 {
		if err := groups.AllowRealtime(o.CgroupParent, int64(o.CPURTPeriod), int64(o.CPURTRuntime)); err != nil {
			return err
		}
	}
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
	leaf, err := d.placeGroups(groups)
	if err != nil {
		return err
	}
	var opened atomic.Pointer[network.Networks] // once they are
	kept, err := keeper.Start(ctx, keeper.Options{Exec: keeperPath, ExecRoot: o.ExecRoot, Cgroup: leaf,
		Warn:   func(err error) { log.Warn("the keeper stays as it is", "error", err) },
		Rehold: func(ctx context.Context) { d.rehold(ctx, opened.Load()) }})
	if err != nil {
		return err
	}
	d.closing("keeper", kept)

	unpacker, err := confine.New(keeperPath, "unpack")
	if err != nil {
		return err
	}
	d.closing("unpacker", unpacker)
	store, err := image.Open(ctx, image.Options{Root: filepath.Join(o.DataRoot, "image"), MaxUnpacked: o.MaxLayerSize, Unpacker: unpacker})
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
	if d.id, err = engineID(o.DataRoot); err != nil {
		return err
	}
	nets, err := d.openNetworks(ctx, kept)
	if err != nil {
		return err
	}

	gateway, gateway6 := o.HostGateway, o.HostGateway6
	if !gateway.IsValid() && !gateway6.IsValid() {
		gateway, gateway6 = nets.Gateway()
	}
	d.host, d.bus = machine(groups), container.NewBus()
	containers, err := container.Open(ctx, container.Options{
		Root: filepath.Join(o.DataRoot, "containers"), ExecRoot: o.ExecRoot,
		Images: store, Layers: layers, Volumes: vols, Networks: nets, Runtime: rt, Keeper: kept, Cgroups: groups, Events: d.bus,
		Host: o.defaults(d.host), StopTimeout: time.Duration(o.StopTimeout) * time.Second, SeccompProfile: o.seccomp, CgroupParent: o.CgroupParent, UserMap: o.UserMap, CDI: o.CDISpecDirs, HostGateway: gateway, HostGateway6: gateway6,
		DNS: o.DNS, DNSSearch: o.DNSSearch, DNSOptions: o.DNSOptions, LogOptions: o.LogOpts, Log: log,
		LinkVariables: os.Getenv("DOCKER_KEEP_DEPRECATED_LEGACY_LINKS_ENV_VARS") == "1", // as dockerd has it
	})
	if err != nil {
		return err
	}
	d.closers.Add(func() { d.dropGroup(groups, containers) })
	d.closing("containers", containers)
	store.Collect(containers.Chains)
	d.containers = containers
	nets.Settle(ctx, containers.NetNS)
	containers.Settled()
	if err := nets.Start(); err != nil { // what running containers have is adopted: the rest may be given away
		return err
	}
	opened.Store(nets)
	if !o.LiveRestore { // what an engine that was killed has left
		containers.StopAll(o.shutdownTimeout())
	}
	containers.Supervise()

	imgs := images{store, containers, d.bus, new(sync.Mutex), d.registries.Load, func() *signature.Policy { return d.options().signatures }}
	d.images, d.volumes = imgs, vols
	store.Carry(toolbox.Ref, func(ctx context.Context) error { return installToolbox(ctx, imgs) })
	if _, err := store.Get(ctx, toolbox.Ref); err == nil {
		if err := installToolbox(ctx, imgs); err != nil {
			log.Warn("the built-in image is not brought up to date", "error", err)
		}
	}
	client, err := o.registries(log.Warn)
	if err != nil {
		return err
	}
	d.registries.Store(client)
	store.SetTransfers(o.MaxConcurrentDownloads, o.MaxConcurrentUploads)
	if !gateway.IsValid() {
		gateway = gateway6
	}
	if err := d.openBuilder(ctx, build.Options{Images: store, Runtime: rt, Keeper: kept, Networks: nets, Cgroups: groups, Gateway: gateway}); err != nil {
		return err
	}
	d.keepBudget()
	d.measures = newMeasures(d)
	d.server = server.New(server.Options{
		Containers: timed{containers, d.measures.containers}, Images: imgs, Volumes: volumes{vols, d.bus}, Networks: networks{nets, containers, d.bus, d.guard, func() map[string]map[string]string { return d.options().NetworkOpts }},
		Builds:     builds{d.builder, d.bus},
		Registries: registries{d},
		Migration:  migration{imgs, vols, containers, layers},
		System:     &about{d: d, mode: groups.Mode().String(), initPath: initPath},
		Version:    version.Version, MinAPI: o.MinAPI, Experimental: o.Experimental, Log: log,
		Debug: func() bool { return d.options().Debug },
		Calm:  giveBack, // what many clients at once have needed
	})
	return nil
}

// placeGroups puts the containers' groups below what systemd has delegated to the
// engine's service, if it has, and returns the group for the keeper there.
func (d *Daemon) placeGroups(groups *cgroup.Host) (keeper *os.File, err error) {
	if !d.o.ownGroup {
		return nil, nil
	}
	service, ok := groups.Delegated()
	if !ok {
		return nil, nil
	}
	d.o.CgroupParent = service + "/containers"
	if keeper, err = groups.Leaf(service + "/keeper"); err != nil {
		return nil, fmt.Errorf("cannot make the keeper's cgroup: %w", err)
	}
	d.closing("the keeper's cgroup", keeper)
	return keeper, nil
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

// installToolbox brings in the built-in image where it is missing or older. The older
// one goes, unless containers use it or it has another name.
func installToolbox(ctx context.Context, i images) error {
	present, old := "", ""
	if img, err := i.store.Get(ctx, toolbox.Ref); err == nil {
		present, old = img.Config.Config.Labels[toolbox.Label], img.ID
	}
	return toolbox.Install(ctx, present, func(ctx context.Context, archive io.Reader, changes []string, created time.Time) error {
		_, err := i.store.Import(ctx, archive, image.ImportOptions{Ref: toolbox.Ref, Message: "built into hoyd", Changes: changes, Created: created})
		if err != nil || old == "" {
			return err
		}
		if left, err := i.store.Get(ctx, old); err != nil || len(left.RepoTags) > 0 {
			return nil
		}
		if _, err = i.Remove(ctx, old, server.ImageRemoveOptions{}); fault.Is(err, fault.Conflict) {
			return nil
		}
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
	return id, atomicfile.WriteSync(path, []byte(id), 0o600)
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
