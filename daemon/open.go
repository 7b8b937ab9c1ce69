package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"hoy/container"
	"hoy/image"
	"hoy/image/confine"
	"hoy/keeper"
	"hoy/lib/atomicfile"
	"hoy/lib/version"
	"hoy/linux/cgroup"
	"hoy/network"
	"hoy/runtime"
	"hoy/server"
	"hoy/shim"
	"hoy/snapshot"
	"hoy/volume"
)

// parts are what an engine is put together from, in the order in which they are opened.
type parts struct {
	groups     *cgroup.Host
	keeperPath string
	initPath   string
	runtime    *runtime.Runtime
	keeper     *keeper.Client
	store      *image.Store
	layers     *snapshot.Layers
	volumes    *volume.Store
	networks   *network.Networks
	adopted    atomic.Pointer[network.Networks] // networks, once they are open and containers' are adopted
	gateway    netip.Addr                       // what host-gateway means, IPv4
	gateway6   netip.Addr
	containers *container.Containers
}

// open opens the parts, each standing on those before.
func (d *Daemon) open(ctx context.Context) error {
	var p parts
	for _, step := range []func(context.Context, *parts) error{
		d.openRuntime, d.openKeeper, d.openStores, d.openNetworks, d.openContainers, d.adopt, d.openImages, d.openBuilder,
	} {
		if err := step(ctx, &p); err != nil {
			return err
		}
	}
	d.keepBudget()
	d.measures = newMeasures(d)
	d.server = d.newServer(&p)
	return nil
}

func (d *Daemon) openRuntime(_ context.Context, p *parts) (err error) {
	o := &d.o
	if p.groups, err = cgroup.Open(""); err != nil {
		return err
	}
	d.closing("cgroups", p.groups)
	if o.CPURTPeriod != 0 || o.CPURTRuntime != 0 {
		if err := p.groups.AllowRealtime(o.CgroupParent, int64(o.CPURTPeriod), int64(o.CPURTRuntime)); err != nil {
			return err
		}
	}
	if p.keeperPath, err = o.keeperPath(); err != nil {
		return err
	}
	p.initPath = o.initPath(p.keeperPath)
	if p.runtime, err = runtime.New(runtime.Config{Cgroups: p.groups, InitPath: p.initPath}); err != nil {
		return err
	}
	d.closers.Add(p.runtime.Close)
	return nil
}

// openKeeper finds the keeper that holds the containers, or starts one.
func (d *Daemon) openKeeper(ctx context.Context, p *parts) error {
	leaf, err := d.placeGroups(p.groups)
	if err != nil {
		return err
	}
	p.keeper, err = keeper.Start(ctx, keeper.Options{Exec: p.keeperPath, ExecRoot: d.o.ExecRoot, Cgroup: leaf,
		Warn:   func(err error) { d.log.Warn("the keeper stays as it is", "error", err) },
		Rehold: func(ctx context.Context) { d.rehold(ctx, p.adopted.Load()) }})
	if err != nil {
		return err
	}
	d.closing("keeper", p.keeper)
	return nil
}

// openStores opens what is on disk: images, writable layers, volumes.
func (d *Daemon) openStores(ctx context.Context, p *parts) error {
	o := &d.o
	unpacker, err := confine.New(p.keeperPath, "unpack")
	if err != nil {
		return err
	}
	d.closing("unpacker", unpacker)
	p.store, err = image.Open(ctx, image.Options{Root: filepath.Join(o.DataRoot, "image"), MaxUnpacked: o.MaxLayerSize, Unpacker: unpacker})
	if err != nil {
		return err
	}
	d.closing("image store", p.store)
	if p.layers, err = snapshot.Open(filepath.Join(o.DataRoot, "layers")); err != nil {
		return err
	}
	d.closing("layers", p.layers)
	if p.volumes, err = volume.Open(filepath.Join(o.DataRoot, "volumes")); err != nil {
		return err
	}
	d.closing("volumes", p.volumes)
	d.volumes = p.volumes
	d.id, err = engineID(o.DataRoot)
	return err
}

// openContainers reads the records and takes over what runs.
func (d *Daemon) openContainers(ctx context.Context, p *parts) (err error) {
	o := &d.o
	p.gateway, p.gateway6 = o.HostGateway, o.HostGateway6
	if !p.gateway.IsValid() && !p.gateway6.IsValid() {
		p.gateway, p.gateway6 = p.networks.Gateway()
	}
	d.host, d.bus = machine(p.groups), container.NewBus()
	shimPath, err := beside("hoy-shim")
	if err != nil {
		return err
	}
	p.containers, err = container.Open(ctx, container.Options{
		Root: filepath.Join(o.DataRoot, "containers"), ExecRoot: o.ExecRoot,
		Images: p.store, Layers: p.layers, Volumes: p.volumes, Networks: p.networks, Runtime: p.runtime, Keeper: p.keeper, Shim: shim.Program(shimPath), Cgroups: p.groups, Events: d.bus,
		Host: o.defaults(d.host), StopTimeout: time.Duration(o.StopTimeout) * time.Second, SeccompProfile: o.seccomp, CgroupParent: o.CgroupParent,
		UserMap: o.UserMap, CDI: o.CDISpecDirs, HostGateway: p.gateway, HostGateway6: p.gateway6,
		DNS: o.DNS, DNSSearch: o.DNSSearch, DNSOptions: o.DNSOptions, LogOptions: o.LogOpts, Log: d.log,
		LinkVariables: os.Getenv("DOCKER_KEEP_DEPRECATED_LEGACY_LINKS_ENV_VARS") == "1", // as dockerd has it
	})
	if err != nil {
		return err
	}
	d.closers.Add(func() { d.dropGroup(p.groups, p.containers) })
	d.closing("containers", p.containers)
	d.containers = p.containers
	return nil
}

// adopt gives the parts what the running containers have of them, so that the rest may be
// given away or removed, and then lets everything begin that goes on by itself.
func (d *Daemon) adopt(ctx context.Context, p *parts) error {
	p.store.Collect(p.containers.Chains)
	p.adopted.Store(p.networks) // a keeper that comes after what Settle asks is none of Settle's
	p.networks.Settle(ctx, p.containers.NetNS)
	p.containers.Settled()
	if err := p.networks.Start(); err != nil {
		return err
	}
	if !d.o.LiveRestore { // what an engine that was killed has left
		p.containers.StopAll(d.o.shutdownTimeout())
	}
	p.containers.Supervise()
	return nil
}

func (d *Daemon) newServer(p *parts) *server.Server {
	return server.New(server.Options{
		Containers: timed{p.containers, d.measures.containers}, Images: d.images, Volumes: volumes{p.volumes, d.bus, p.containers.Strangers},
		Networks:   networks{p.networks, p.containers, d.bus, d.guard, func() map[string]map[string]string { return d.options().NetworkOpts }},
		Builds:     builds{d.builder, d.bus},
		Registries: registries{d},
		Migration:  migration{d.images, p.volumes, p.containers, p.layers},
		System:     &about{d: d, mode: p.groups.Mode().String(), initPath: p.initPath},
		Version:    version.Version, MinAPI: d.o.MinAPI, Experimental: d.o.Experimental, Log: d.log,
		Debug: func() bool { return d.options().Debug },
		Calm:  giveBack, // what many clients at once have needed
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
