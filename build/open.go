package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/cache/remotecache"
	"github.com/moby/buildkit/cache/remotecache/inline"
	localcache "github.com/moby/buildkit/cache/remotecache/local"
	registrycache "github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/client"
	bkcontrol "github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/version"
	bkworker "github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	"github.com/moby/buildkit/worker/label"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// labelGateway is the label of a worker by which clients learn what host-gateway is.
const labelGateway = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"

// open opens BuildKit: its databases, the worker on the image store, the front ends.
func (b *Builder) open(ctx context.Context) (_ *controller, err error) {
	c := &controller{sessions: b.sessions}
	defer func() {
		if err != nil {
			c.closers.Run()
		}
	}()
	if err := os.MkdirAll(b.o.Root, 0o700); err != nil {
		return nil, err
	}
	undo, err := useTempDir(&b.o)
	if err != nil {
		return nil, err
	}
	c.closers.Add(undo)
	steps := newStepExecutor(&b.o)
	c.closers.Add(steps.behind.Wait)
	wo, err := b.workerOptions(steps)
	if err != nil {
		return nil, err
	}
	c.closers.Add(func() { wo.MetadataStore.Close() })
	if c.worker, err = newWorker(ctx, b, wo); err != nil {
		return nil, err
	}
	if err := b.sweepLeases(ctx, wo); err != nil {
		return nil, err
	}
	known, err := bboltcachestorage.NewStore(filepath.Join(b.o.Root, "cache.db"))
	if err != nil {
		return nil, err
	}
	c.closers.Add(func() { known.Close() })
	at := filepath.Join(b.o.Root, "history.db")
	if err := b.sweepHistory(ctx, wo, at); err != nil {
		return nil, err
	}
	history, err := boltutil.SafeOpen(at, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	c.closers.Add(func() { history.Close() })
	workers := &bkworker.Controller{}
	if err := workers.Add(c.worker); err != nil {
		return nil, err
	}
	frontends, err := b.frontends(workers)
	if err != nil {
		return nil, err
	}
	ending := make(chan struct{})
	c.closers.Add(func() { close(ending) })
	c.Controller, err = bkcontrol.NewController(bkcontrol.Opt{
		SessionManager: b.sessions, WorkerController: workers, Frontends: frontends,
		CacheManager: solver.NewCacheManager(ctx, "local", known, results{bkworker.NewCacheResultStorage(workers)}),
		CacheStore:   known, HistoryDB: history,
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"registry": registrycache.ResolveCacheImporterFunc(b.sessions, wo.ContentStore, wo.RegistryHosts),
			"local":    localcache.ResolveCacheImporterFunc(b.sessions),
		},
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"registry": registrycache.ResolveCacheExporterFunc(b.sessions, wo.RegistryHosts),
			"local":    localcache.ResolveCacheExporterFunc(b.sessions),
			"inline":   inline.ResolveCacheExporterFunc(),
		},
		Entitlements: b.o.Config.entitlements(), HistoryConfig: b.o.Config.history(),
		LeaseManager: wo.LeaseManager, ContentStore: wo.ContentStore, GarbageCollect: c.worker.GarbageCollect,
		GracefulStop: ending,
	})
	if err != nil {
		return nil, err
	}
	c.server = newControlServer(c.Controller)
	return c, nil
}

// frontends are the Dockerfile's, which is built in, and the one that runs others as
// images ("# syntax="), and our own.
func (b *Builder) frontends(workers *bkworker.Controller) (map[string]frontend.Frontend, error) {
	images, err := gateway.NewGatewayFrontend(workers.Infos(), nil)
	if err != nil {
		return nil, err
	}
	return map[string]frontend.Frontend{
		"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), dockerfile.Build),
		"gateway.v0":    images,
		callsFrontend:   &b.front.calls,
	}, nil
}

// kitVersion is BuildKit's, by which clients know what it can: it knows it itself only as
// its own programs are built.
func kitVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == version.Package {
				return m.Version
			}
		}
	}
	return version.Version
}

// workerOptions put the image store into BuildKit's terms.
func (b *Builder) workerOptions(steps *stepExecutor) (base.WorkerOpt, error) {
	var o base.WorkerOpt
	records, err := openRecords(b.o.Root, b.o.Log)
	if err != nil {
		return o, err
	}
	p := b.o.Images.Parts()
	blobs := containerdsnapshot.NewContentStore(p.Content, p.Namespace)
	labels := map[string]string{label.Executor: "hoy", label.Snapshotter: p.Snapshotter}
	if b.o.Gateway.IsValid() {
		labels[labelGateway] = b.o.Gateway.String()
	}
	policy, err := b.o.Config.policy(b.o.Root, time.Now())
	if err != nil {
		return o, err
	}
	return base.WorkerOpt{
		GCPolicy: policy,
		ID:       workerID, Root: b.o.Root, Labels: labels,
		Platforms:       []ocispec.Platform{platforms.Normalize(platforms.DefaultSpec())},
		BuildkitVersion: client.BuildkitVersion{Package: version.Package, Version: kitVersion(), Revision: version.Revision},
		Executor:        steps,
		Snapshotter: &snapshots{
			Snapshotter: containerdsnapshot.NewSnapshotter(p.Snapshotter, p.Snapshots, p.Namespace, nil), store: b.o.Images, ready: map[string]string{},
		},
		ContentStore:   blobs,
		Applier:        applier{p.Applier},
		Differ:         walking.NewWalkingDiff(blobs),
		ImageStore:     p.Images,
		RegistryHosts:  b.o.Registries,
		LeaseManager:   leaseutil.WithNamespace(viewless{p.Leases}, p.Namespace),
		GarbageCollect: p.Collect,
		MetadataStore:  records,
		MountPoolRoot:  b.o.mountsDir(),
	}, nil
}

// workerID names the worker in the cache's records: it must not change.
const workerID = "hoy"

// close ends the solver first, which uses all else.
func (c *controller) close() error {
	c.server.close()
	unsynced := syncRecords(c.worker.MetadataStore)
	err := errors.Join(unsynced, c.Controller.Close())
	c.closers.Run() // what BuildKit has closed is not closed twice
	if err != nil {
		return err
	}
	return synced(c.worker.Root)
}
