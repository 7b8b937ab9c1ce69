package image

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Holder says what a blob or a layer is kept for.
type Holder uint8

// From nobody, which is what the next collection takes, to containers.
const (
	HeldByNobody Holder = iota
	HeldByCache         // the build cache alone
	HeldByImages
	HeldByContainers
)

// Places are the blobs and layers of the store, by where they lie below its root. What
// is on disk and not in it is held by nobody.
type Places struct {
	Blobs  map[string]Holder // "<algorithm>/<hex>", below content/blobs
	Layers map[string]Holder // "<n>", below overlay/snapshots
}

// Places finds out what everything in the store is kept for. used reports whether an
// image has containers.
func (s *Store) Places(ctx context.Context, used func(imageID string) bool) (Places, error) {
	ctx = namespaced(ctx)
	w := places{s: s, out: Places{map[string]Holder{}, map[string]Holder{}},
		dirs: map[string]string{}, parents: map[string]string{}, unpacked: map[digest.Digest]string{}}
	if err := w.read(ctx); err != nil {
		return w.out, err
	}
	if err := w.cache(ctx); err != nil {
		return w.out, err
	}
	for _, im := range s.index.Load().list {
		h := HeldByImages
		if used(im.ID) {
			h = HeldByContainers
		}
		blobs, err := s.contents(ctx, im.Target)
		if err != nil {
			return w.out, err
		}
		w.image(blobs, h)
	}
	for _, chain := range s.inUse() {
		w.layer(chain, HeldByContainers)
	}
	return w.out, nil
}

type places struct {
	s        *Store
	out      Places
	dirs     map[string]string        // chain to directory
	parents  map[string]string        // of chains
	unpacked map[digest.Digest]string // configuration to chain
}

func (w *places) read(ctx context.Context) error {
	err := w.s.snaps.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		w.dirs[i.Name] = layerDir(i)
		w.parents[i.Name] = i.Parent
		return nil
	})
	if err != nil {
		return err
	}
	return w.s.content.Walk(ctx, func(i content.Info) error {
		if chain := i.Labels[labelSnapshotRef]; chain != "" {
			w.unpacked[i.Digest] = chain
		}
		return nil
	})
}

// cache finds what the build cache's leases hold, those of its history too.
func (w *places) cache(ctx context.Context) error {
	for _, ctx := range []context.Context{ctx, namespaces.WithNamespace(ctx, historyNamespace)} {
		all, err := w.s.leases.List(ctx)
		if err != nil {
			return err
		}
		for _, l := range all {
			if l.Labels[labelCache] == "" {
				continue
			}
			held, err := w.s.leases.ListResources(ctx, l)
			if err != nil {
				return err
			}
			for _, r := range held {
				switch r.Type {
				case "content":
					at := strings.Replace(r.ID, ":", "/", 1)
					w.out.Blobs[at] = max(w.out.Blobs[at], HeldByCache)
				case "snapshots/" + snapshotter:
					w.layer(r.ID, HeldByCache)
				}
			}
		}
	}
	return nil
}

func (w *places) image(blobs []ocispec.Descriptor, h Holder) {
	for _, b := range blobs {
		at := strings.Replace(b.Digest.String(), ":", "/", 1)
		w.out.Blobs[at] = max(w.out.Blobs[at], h)
		w.layer(w.unpacked[b.Digest], h)
	}
}

func (w *places) layer(chain string, h Holder) {
	for ; chain != ""; chain = w.parents[chain] {
		if dir := w.dirs[chain]; dir != "" {
			w.out.Layers[dir] = max(w.out.Layers[dir], h)
		}
	}
}
