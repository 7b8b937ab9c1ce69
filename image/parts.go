package image

import (
	"context"
	"maps"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/gc"

	"hoy/lib/fault"
)

// Parts is the store as a builder in the same process uses it. Its calls need Namespace
// in their context.
type Parts struct {
	Namespace   string
	Snapshotter string // the name of Snapshots
	Content     content.Store
	Snapshots   snapshots.Snapshotter
	Applier     diff.Applier // unpacks confined
	// Leases marks what it makes: a lease that is not temporary outlives Open, which
	// drops all others.
	Leases leases.Manager
	// Images gives names as Tag does, and has a carried image installed that is asked for.
	Images images.Store
	// Collect removes what nothing uses, now.
	Collect func(context.Context) (gc.Stats, error)
}

// Parts returns the store's parts for a builder. What it keeps by its leases counts as
// the build cache's.
func (s *Store) Parts() Parts {
	return Parts{namespace, snapshotter, s.content, s.snaps, applier{s}, cacheLeases{s.leases}, givenNames{s}, s.collectNow}
}

const (
	// labelCache is on the leases of the build cache.
	labelCache = "hoy.build"
	// labelTemporary is on those which end with the build: BuildKit's label.
	labelTemporary = "buildkit/lease.temporary"
	// historyNamespace is where BuildKit keeps what it records of builds: its name for it.
	historyNamespace = namespace + "_history"
)

// cacheLeases marks leases as the build cache's.
type cacheLeases struct{ leases.Manager }

func (m cacheLeases) Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error) {
	return m.Manager.Create(ctx, append(opts, func(l *leases.Lease) error {
		l.Labels = maps.Clone(l.Labels)
		if l.Labels == nil {
			l.Labels = map[string]string{}
		}
		l.Labels[labelCache] = "1"
		return nil
	})...)
}

// IsCacheLease reports whether a lease was made through Parts, for longer than a build.
func IsCacheLease(l leases.Lease) bool { return outlives(l) }

// outlives reports whether a lease stays when an engine ends.
func outlives(l leases.Lease) bool {
	return l.Labels[labelCache] != "" && l.Labels[labelTemporary] == ""
}

// givenNames is the images of a store as containerd has them.
type givenNames struct{ s *Store }

func (g givenNames) Get(ctx context.Context, name string) (images.Image, error) {
	if _, err := g.s.demand(ctx, name); err != nil && !fault.Is(err, fault.NotFound) {
		return images.Image{}, err
	}
	return g.s.images.Get(namespaced(ctx), name)
}

func (g givenNames) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return g.s.images.List(namespaced(ctx), filters...)
}

func (g givenNames) Create(ctx context.Context, im images.Image) (images.Image, error) {
	ctx = namespaced(ctx)
	name := im.Name
	if isDangling(name) {
		name = ""
	} else if ref, err := parseTag(name); err != nil {
		return im, err
	} else {
		name = ref.String()
	}
	if err := g.s.setName(ctx, name, im.Target); err != nil {
		return im, err
	}
	return im, nil
}

func (g givenNames) Update(ctx context.Context, im images.Image, fields ...string) (images.Image, error) {
	if _, err := g.s.images.Get(namespaced(ctx), im.Name); err != nil {
		return im, err
	}
	return g.Create(ctx, im)
}

// Delete is for the store itself, which knows who uses an image.
func (g givenNames) Delete(ctx context.Context, name string, _ ...images.DeleteOpt) error {
	return fault.New(fault.NotImplemented, "a builder does not remove images")
}
