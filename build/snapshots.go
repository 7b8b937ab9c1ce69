package build

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	containerdmount "github.com/containerd/containerd/v2/core/mount"
	containerdsnapshots "github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/sys/user"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image"
)

// snapshots is the image store's snapshotter, with three differences.
//
// Writable snapshots are mounted volatile. The last close of any other overlay waits until
// all that was written is on disk, at each step; here that is done once, when an image is
// made of it.
//
// A layer that the store has unpacked is not unpacked again. BuildKit does that by its own
// name for it, since an engine's store may hold what nobody has verified; this store
// verifies all layers. So where BuildKit prepares a snapshot to unpack such a layer into
// (its key ends with the chain ID), there is none, nothing is unpacked (see applier), and
// what is committed is the layer that there is by another name.
//
// A view of a snapshot, which BuildKit makes of each to compare it with what is below it,
// has no record: its parent, which is leased, is all that it consists of. Nor has it a
// lease: see viewless.
type snapshots struct {
	snapshot.Snapshotter
	store *image.Store

	mu    sync.Mutex
	ready map[string]string // keys of such snapshots → chain IDs; guarded by mu
}

func (s *snapshots) Prepare(ctx context.Context, key, parent string, opts ...containerdsnapshots.Opt) error {
	if id, chain, ok := strings.Cut(key, " "); ok && strings.HasPrefix(id, "extract-") {
		if have, err := s.store.HasLayer(ctx, chain); err != nil {
			return err
		} else if have {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ready[key] = chain
			return nil
		}
	}
	return s.Snapshotter.Prepare(ctx, key, parent, opts...)
}

func (s *snapshots) chainOf(key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chain, ok := s.ready[key]
	return chain, ok
}

func (s *snapshots) Mounts(ctx context.Context, key string) (snapshot.Mountable, error) {
	if _, ok := s.chainOf(key); ok {
		return fixed{{Type: unpackedType}}, nil
	}
	m, err := s.Snapshotter.Mounts(ctx, key)
	if err != nil {
		return nil, err
	}
	return &volatile{m}, nil
}

func (s *snapshots) Commit(ctx context.Context, name, key string, opts ...containerdsnapshots.Opt) error {
	chain, ok := s.chainOf(key)
	if !ok {
		return s.Snapshotter.Commit(ctx, name, key, opts...)
	}
	if err := s.store.ShareLayer(ctx, chain, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ready, key)
	return nil
}

func (s *snapshots) View(ctx context.Context, key, parent string, opts ...containerdsnapshots.Opt) (snapshot.Mountable, error) {
	if !isView(key) || parent == "" {
		return s.Snapshotter.View(ctx, key, parent, opts...)
	}
	dirs, err := s.store.SnapshotDirs(ctx, parent)
	if err != nil {
		return nil, err
	}
	if len(dirs) == 1 {
		return fixed{{Type: "bind", Source: dirs[0], Options: []string{"ro", "rbind"}}}, nil
	}
	return fixed{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + strings.Join(dirs, ":")}}}, nil
}

// isView recognizes what BuildKit calls views and their leases.
func isView(key string) bool { return strings.HasSuffix(key, "-view") }

// fixed is a mount that nobody needs to release.
type fixed []containerdmount.Mount

func (fixed) IdentityMapping() *user.IdentityMapping { return nil }
func (f fixed) Mount() ([]containerdmount.Mount, func() error, error) {
	return slices.Clone(f), func() error { return nil }, nil
}

// viewless is the store's leases without those of views.
type viewless struct{ leases.Manager }

func (m viewless) Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error) {
	var l leases.Lease
	for _, o := range opts {
		if err := o(&l); err != nil {
			return l, err
		}
	}
	if isView(l.ID) {
		return l, nil
	}
	return m.Manager.Create(ctx, func(made *leases.Lease) error { *made = l; return nil })
}

func (m viewless) Delete(ctx context.Context, l leases.Lease, opts ...leases.DeleteOpt) error {
	if isView(l.ID) {
		return nil
	}
	return m.Manager.Delete(ctx, l, opts...)
}

func (m viewless) AddResource(ctx context.Context, l leases.Lease, r leases.Resource) error {
	if isView(l.ID) {
		return nil
	}
	return m.Manager.AddResource(ctx, l, r)
}

// unpackedType is the type of the mount that stands for a layer which is unpacked already.
const unpackedType = "hoy-unpacked"

// applier is the store's, except for what is unpacked already.
type applier struct{ diff.Applier }

func (a applier) Apply(ctx context.Context, d ocispec.Descriptor, mounts []containerdmount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	if len(mounts) != 1 || mounts[0].Type != unpackedType {
		return a.Applier.Apply(ctx, d, mounts, opts...)
	}
	// The chain ID, by which the layer was found, is made of this digest.
	id, err := digest.Parse(d.Annotations[labels.LabelUncompressed])
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: id}, err
}

// volatile is the mount of a writable snapshot.
type volatile struct{ snapshot.Mountable }

func (v *volatile) Mount() ([]containerdmount.Mount, func() error, error) {
	list, release, err := v.Mountable.Mount()
	if err != nil {
		return nil, nil, err
	}
	list = slices.Clone(list)
	for i, m := range list {
		if list[i].Options, err = volatileOptions(m); err != nil {
			release()
			return nil, nil, err
		}
	}
	return list, release, nil
}

// volatileOptions are those of an overlay with an upper layer, and others as they are.
// What is changed must be in the upper layer as it is: see mount.OverlayConfig.
func volatileOptions(m containerdmount.Mount) ([]string, error) {
	n := slices.IndexFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "workdir=") })
	if m.Type != "overlay" || n < 0 {
		return m.Options, nil
	}
	// The kernel refuses an overlay that was volatile before, as what it holds may have
	// been lost with the machine's power. A cache may.
	work := strings.TrimPrefix(m.Options[n], "workdir=")
	if err := os.RemoveAll(filepath.Join(work, "work/incompat")); err != nil {
		return nil, err
	}
	return append(slices.Clone(m.Options), "volatile", "redirect_dir=off", "metacopy=off"), nil
}

// unshared takes from a mount what BuildKit puts around it, so that several may have it at
// once: a mount of the overlay at a path of the host. Who has it alone can make the overlay
// itself, where nobody sees it and with a map of its owners. ok is false for anything else.
func unshared(m executor.MountableRef) (alone *volatile, ok bool) {
	for range 4 { // two are known
		if alone, ok = m.(*volatile); ok {
			return alone, true
		}
		v := reflect.Indirect(reflect.ValueOf(m))
		if v.Kind() != reflect.Struct {
			return nil, false
		}
		inner := v.FieldByName("Mountable") // embedded, and so has a name to be seen by
		if !inner.IsValid() || !inner.CanInterface() {
			return nil, false
		}
		if m, ok = inner.Interface().(executor.MountableRef); !ok {
			return nil, false
		}
	}
	return nil, false
}
