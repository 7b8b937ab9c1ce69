package image

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/errdefs"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"

	"hoy/lib/fault"
)

// holdOther is Hold for a platform that is not the one that Get chooses, or an image
// whose layers are not unpacked.
func (s *Store) holdOther(ctx context.Context, ref string, p *ocispec.Platform) (*Image, func(), error) {
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	im, err := s.GetPlatform(ctx, ref, p)
	if err != nil {
		return nil, nil, err
	}
	release := s.hold(im.ChainID)
	if len(im.Layers) < len(im.Config.RootFS.DiffIDs) {
		if err = s.makeReady(ctx, im); err == nil {
			s.mu.Lock()
			err = s.refresh(ctx, im.Target.Digest)
			s.mu.Unlock()
		}
	}
	if err == nil { // it may have been removed before it was held, and collected
		im, err = s.GetPlatform(ctx, ref, p)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	s.usedImage(im)
	return im, release, nil
}

// makeReady unpacks the layers of im and ties them to it.
func (s *Store) makeReady(ctx context.Context, im *Image) error {
	if err := s.checkBlobs(ctx, im); err != nil {
		return err
	}
	if err := s.unpack(ctx, im); err != nil {
		return err
	}
	chain := chainID(im.Config.RootFS.DiffIDs)
	if chain == "" {
		return nil
	}
	return s.label(ctx, im.ConfigDigest, map[string]string{labelSnapshotRef: chain})
}

// RemovePlatforms removes the content of an image for the given platforms, and leaves
// its names. users returns the containers made from a manifest. What other images or
// platforms have too stays.
func (s *Store) RemovePlatforms(ctx context.Context, ref string, wanted []ocispec.Platform, force bool, users func(manifest string) []User) ([]apiimage.DeleteResponse, error) {
	ctx = namespaced(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	im, err := s.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !images.IsIndexType(im.Target.MediaType) {
		return nil, fault.New(fault.Invalid, "image %s is for one platform only: remove it as a whole", ref)
	}
	going, err := s.platformManifests(ctx, im, wanted)
	if err != nil {
		return nil, err
	}
	for d := range going {
		if err := conflict(im, users(d.String()), force, false); err != nil {
			return nil, err
		}
	}
	kept, err := s.keptWithout(ctx, im, going)
	if err != nil {
		return nil, err
	}
	out, err := s.deleteContents(ctx, im, going, kept)
	if err := s.refresh(ctx, im.Target.Digest); err != nil {
		return out, err
	}
	s.collectSoon()
	return out, err
}

// platformManifests finds the manifests of an image for the wanted platforms.
func (s *Store) platformManifests(ctx context.Context, im *Image, wanted []ocispec.Platform) (map[digest.Digest]ocispec.Descriptor, error) {
	all, err := s.candidates(ctx, im.Target, 0)
	if err != nil {
		return nil, err
	}
	going := map[digest.Digest]ocispec.Descriptor{}
	for _, p := range wanted {
		m := choose(all, []ocispec.Platform{p})
		if m == nil {
			return nil, fault.New(fault.NotFound, "image with reference %s was found but does not provide the specified platform (%s)", im.ID, formatAll([]ocispec.Platform{p})[0])
		}
		going[m.Manifest.Digest] = m.Manifest
	}
	return going, nil
}

// keptWithout lists the content of all images but the manifests of im that go.
func (s *Store) keptWithout(ctx context.Context, im *Image, going map[digest.Digest]ocispec.Descriptor) (map[digest.Digest]bool, error) {
	kept := map[digest.Digest]bool{}
	keep := func(d ocispec.Descriptor) error {
		blobs, err := s.contents(ctx, d)
		for _, b := range blobs {
			kept[b.Digest] = true
		}
		return err
	}
	for d, other := range s.index.Load().targets {
		if d != im.Target.Digest {
			if err := keep(other.Target); err != nil {
				return nil, err
			}
		}
	}
	manifests, err := s.manifests(ctx, im.Target, 0)
	for _, m := range manifests {
		if _, goes := going[m.Digest]; !goes && err == nil {
			err = keep(m)
		}
	}
	return kept, err
}

// deleteContents deletes what going has and kept has not, and no lease: what the cache of
// builds has too goes with it. A manifest under a lease is a conflict: who pulls, loads or
// saves it has found it here and goes on without looking again.
//
// Leases are looked at in the transaction that deletes, since each is made before what it
// keeps is looked for. The content store itself would wait in there for writers that wait
// for the transaction; so this is its format (core/metadata/buckets.go), and the files go
// as those do that a killed process has left.
func (s *Store) deleteContents(ctx context.Context, im *Image, going map[digest.Digest]ocispec.Descriptor, kept map[digest.Digest]bool) (out []apiimage.DeleteResponse, err error) {
	var blobs []ocispec.Descriptor
	for _, m := range going {
		found, err := s.contents(ctx, m)
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, found...)
	}
	err = s.meta.Update(func(tx *bolt.Tx) error {
		out = nil
		leased, err := s.leasedContent(boltutil.WithTransaction(ctx, tx))
		if err != nil {
			return err
		}
		all, err := makeBucket(tx, "v1", namespace, "content", "blob")
		if err != nil {
			return err
		}
		for _, b := range blobs {
			id := []byte(b.Digest.String())
			switch isManifest := images.IsManifestType(b.MediaType); {
			case kept[b.Digest] || all.Bucket(id) == nil:
				continue
			case leased[b.Digest] && isManifest:
				return fault.New(fault.Conflict, "conflict: unable to delete %s - its manifest %s is being pulled, loaded, saved or built from", short(im.ID), short(b.Digest.String()))
			case leased[b.Digest]:
				continue
			case isManifest:
				out = append(out, apiimage.DeleteResponse{Deleted: b.Digest.String()})
			}
			if err := all.DeleteBucket(id); err != nil {
				return fmt.Errorf("cannot remove %s: %w", b.Digest, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, s.strayBlobs(ctx)
}

// leasedContent is what leases keep: what they name, and what that refers to.
func (s *Store) leasedContent(ctx context.Context) (map[digest.Digest]bool, error) {
	leased, alone := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	all, err := s.leases.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		resources, err := s.leases.ListResources(ctx, l)
		if err != nil {
			return nil, err
		}
		_, flat := l.Labels[labelFlat]
		for _, r := range resources {
			switch d := digest.Digest(r.ID); {
			case r.Type != "content":
			case flat:
				alone[d] = true
			default:
				if err := s.reach(ctx, d, leased); err != nil {
					return nil, err
				}
			}
		}
	}
	maps.Copy(leased, alone)
	return leased, nil
}

// reach marks a blob, if it is here, and what its labels refer to.
func (s *Store) reach(ctx context.Context, d digest.Digest, marked map[digest.Digest]bool) error {
	if marked[d] {
		return nil
	}
	info, err := s.content.Info(ctx, d)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	marked[d] = true
	for k, to := range info.Labels {
		if strings.HasPrefix(k, labelContentRef) {
			if err := s.reach(ctx, digest.Digest(to), marked); err != nil {
				return err
			}
		}
	}
	return nil
}
