package image

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
)

// alias makes snapshots of a builder layers of an image, without copying anything: a
// directory has two records in the metadata then, of which either may go first. built
// says by chain which snapshot it is. A layer that is not among them, or whose snapshot
// stands on others than the layers below, is left out, as are those above it; complete
// says that there is none. All layers are leased.
//
//	v1/moby/snapshots/overlayfs/<key>/     the builder's: name, parent, …
//	v1/moby/snapshots/overlayfs/<chain>/   the layer's: the same name, which is the
//	                                       snapshotter's own, and the chain below as parent
//
// That is containerd's format (core/metadata/buckets.go); its own collector removes a
// directory when no record has its name.
func (s *Store) alias(ctx context.Context, diffs []digest.Digest, built map[string]string) (added int, complete bool, err error) {
	id, ok := leases.FromContext(ctx)
	if !ok {
		return 0, false, fmt.Errorf("cannot keep layers that nobody leases")
	}
	err = s.meta.Update(func(tx *bolt.Tx) error {
		added, complete = 0, false
		all, err := makeBucket(tx, "v1", namespace, "snapshots", snapshotter)
		if err != nil {
			return err
		}
		leased, err := makeBucket(tx, "v1", namespace, "leases", id, "snapshots", snapshotter)
		if err != nil {
			return err
		}
		below := ""
		for i := range diffs {
			chain := chainID(diffs[:i+1])
			if err := leased.Put([]byte(chain), nil); err != nil {
				return err
			}
			if all.Bucket([]byte(chain)) == nil {
				source := all.Bucket([]byte(built[chain]))
				if built[chain] == "" || source == nil || standsOn(all, source) != nameIn(all, below) {
					return nil
				}
				if err := addAlias(all, source, chain, below); err != nil {
					return err
				}
				added++
			}
			below = chain
		}
		complete = true
		return nil
	})
	return added, complete, err
}

// HasLayer reports whether the layer of a chain is unpacked.
func (s *Store) HasLayer(ctx context.Context, chain string) (bool, error) {
	_, err := s.snaps.Stat(namespaced(ctx), chain)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// SnapshotDirs lists the directories that a committed snapshot consists of, top first.
func (s *Store) SnapshotDirs(ctx context.Context, key string) (dirs []string, err error) {
	ctx = namespaced(ctx)
	for key != "" {
		info, err := s.snaps.Stat(ctx, key)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, info.Labels[upperLabel])
		key = info.Parent
	}
	return dirs, nil
}

// ShareLayer gives the layer of a chain, which is unpacked, a record of its own as the
// snapshot key: see alias. It is the caller's to have that leased.
func (s *Store) ShareLayer(ctx context.Context, chain, key string) error {
	return s.meta.Update(func(tx *bolt.Tx) error {
		all, err := makeBucket(tx, "v1", namespace, "snapshots", snapshotter)
		if err != nil {
			return err
		}
		if all.Bucket([]byte(key)) != nil {
			return nil
		}
		layer := all.Bucket([]byte(chain))
		if layer == nil {
			return fmt.Errorf("layer %s: %w", chain, errdefs.ErrNotFound)
		}
		return addAlias(all, layer, key, string(layer.Get([]byte("parent"))))
	})
}

func addAlias(all, source *bolt.Bucket, chain, below string) error {
	b, err := all.CreateBucket([]byte(chain))
	if err != nil {
		return err
	}
	if below != "" {
		children, err := all.Bucket([]byte(below)).CreateBucketIfNotExists([]byte("children"))
		if err != nil {
			return err
		}
		if err := children.Put([]byte(chain), nil); err != nil {
			return err
		}
		if err := b.Put([]byte("parent"), []byte(below)); err != nil {
			return err
		}
	}
	now := time.Now().UTC()
	if err := boltutil.WriteTimestamps(b, now, now); err != nil {
		return err
	}
	return b.Put([]byte("name"), source.Get([]byte("name")))
}

// standsOn is the snapshotter's name of what is below a snapshot, "" for nothing.
func standsOn(all, snapshot *bolt.Bucket) string {
	return nameIn(all, string(snapshot.Get([]byte("parent"))))
}

// nameIn is the snapshotter's name of a snapshot, "" for none.
func nameIn(all *bolt.Bucket, key string) string {
	if key == "" {
		return ""
	}
	b := all.Bucket([]byte(key))
	if b == nil {
		return ""
	}
	return string(b.Get([]byte("name")))
}

func makeBucket(tx *bolt.Tx, path ...string) (b *bolt.Bucket, err error) {
	if b, err = tx.CreateBucketIfNotExists([]byte(path[0])); err != nil {
		return nil, err
	}
	for _, name := range path[1:] {
		if b, err = b.CreateBucketIfNotExists([]byte(name)); err != nil {
			return nil, err
		}
	}
	return b, nil
}
