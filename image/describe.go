package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// maxJSON bounds indexes, manifests and configurations.
const maxJSON = 8 << 20

// readSmall reads a small blob, whatever its descriptor says of its size: that is of
// whoever wrote the manifest, who may call any layer here a configuration of some bytes.
func (s *Store) readSmall(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	ra, err := s.content.ReaderAt(ctx, d)
	if err != nil {
		return nil, err
	}
	defer ra.Close()
	if n := max(ra.Size(), d.Size); n > maxJSON {
		return nil, fault.New(fault.Invalid, "%s of %d bytes is larger than %d", d.MediaType, n, maxJSON)
	}
	b := make([]byte, ra.Size())
	if _, err := io.ReadFull(content.NewReader(ra), b); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", d.Digest, err)
	}
	return b, nil
}

// readJSON reads a small blob into v.
func (s *Store) readJSON(ctx context.Context, d ocispec.Descriptor, v any) error {
	b, err := s.readSmall(ctx, d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.New(fault.Invalid, "cannot read %s %s: %w", d.MediaType, d.Digest, err)
	}
	return nil
}

// maxNesting is how many indexes may lie within each other.
const maxNesting = 4

// candidates lists the manifests below target whose configuration is here.
func (s *Store) candidates(ctx context.Context, target ocispec.Descriptor, depth int) ([]*Image, error) {
	if images.IsManifestType(target.MediaType) {
		im, err := s.readManifest(ctx, target)
		if errdefs.IsNotFound(err) {
			return nil, nil // of another platform, not in this store
		}
		if err != nil {
			return nil, err
		}
		return []*Image{im}, nil
	}
	if !images.IsIndexType(target.MediaType) {
		return nil, nil // an attestation, a signature
	}
	if depth == maxNesting {
		return nil, fault.New(fault.Invalid, "indexes are nested more than %d deep", maxNesting)
	}
	var ix ocispec.Index
	if err := s.readJSON(ctx, target, &ix); err != nil {
		if errdefs.IsNotFound(err) && depth > 0 {
			return nil, nil
		}
		return nil, err
	}
	var all []*Image
	for _, m := range ix.Manifests {
		if m.Annotations["vnd.docker.reference.type"] != "" {
			continue // attestations that buildkit puts beside the images
		}
		below, err := s.candidates(ctx, m, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// maxLayers is how many layers overlayfs takes. A manifest has room for 40,000, and each
// has a name that is made of all below it.
const maxLayers = 500

func (s *Store) readManifest(ctx context.Context, d ocispec.Descriptor) (*Image, error) {
	var m ocispec.Manifest
	if err := s.readJSON(ctx, d, &m); err != nil {
		return nil, err
	}
	if n := len(m.Layers); n > maxLayers {
		return nil, fault.New(fault.Invalid, "manifest %s has %d layers, %d are the most there can be", d.Digest, n, maxLayers)
	}
	im := &Image{Manifest: d, ConfigDigest: m.Config.Digest, config: m.Config, blobs: m.Layers}
	if err := s.readJSON(ctx, m.Config, &im.Config); err != nil {
		return nil, err
	}
	if len(m.Layers) != len(im.Config.RootFS.DiffIDs) {
		return nil, fault.New(fault.Invalid, "manifest %s has %d layers, its configuration %d", d.Digest, len(m.Layers), len(im.Config.RootFS.DiffIDs))
	}
	for _, id := range im.Config.RootFS.DiffIDs {
		if err := id.Validate(); err != nil {
			return nil, fault.New(fault.Invalid, "configuration %s: layer %q: %w", m.Config.Digest, id, err)
		}
	}
	return im, nil
}

// choose picks the manifest for the wanted platforms in their order, by default
// this machine's, then whatever there is.
func choose(all []*Image, wanted []ocispec.Platform) *Image {
	match := platforms.Default()
	if len(wanted) > 0 {
		match = platforms.Ordered(wanted...)
	}
	var best *Image
	for _, im := range all {
		p := platforms.Normalize(im.Config.Platform)
		if !match.Match(p) {
			continue
		}
		if best == nil || match.Less(p, platforms.Normalize(best.Config.Platform)) {
			best = im
		}
	}
	if best == nil && len(wanted) == 0 && len(all) > 0 {
		return all[0]
	}
	return best
}

// describe gathers all that an Image says, except its names.
func (s *Store) describe(ctx context.Context, target ocispec.Descriptor) (*Image, error) {
	all, err := s.candidates(ctx, target, 0)
	if err != nil {
		return nil, err
	}
	im := choose(all, nil)
	if im == nil {
		return nil, fault.New(fault.NotFound, "image %s has no content here for any platform", target.Digest)
	}
	return im, s.complete(ctx, im, target)
}

func (s *Store) complete(ctx context.Context, im *Image, target ocispec.Descriptor) error {
	im.ID, im.Target = target.Digest.String(), target
	if im.Config.Created != nil {
		im.Created = *im.Config.Created
	}
	im.Size = im.Manifest.Size + im.config.Size
	for _, l := range im.blobs {
		im.Size += l.Size
	}
	chain := chainID(im.Config.RootFS.DiffIDs)
	im.ChainID = chain
	var layers []string
	for chain != "" {
		info, err := s.snaps.Stat(ctx, chain)
		if errdefs.IsNotFound(err) {
			return nil // not unpacked: Layers stays empty
		}
		if err != nil {
			return fmt.Errorf("cannot find layer %s: %w", chain, err)
		}
		use, err := s.snaps.Usage(ctx, chain)
		if err != nil {
			return fmt.Errorf("cannot measure layer %s: %w", chain, err)
		}
		im.Size += use.Size
		im.Unpacked += use.Size
		im.sizes = append([]int64{use.Size}, im.sizes...)
		layers = append(layers, info.Labels[upperLabel])
		chain = info.Parent
	}
	im.Layers = layers
	return nil
}

func chainID(diffs []digest.Digest) string {
	if len(diffs) == 0 {
		return ""
	}
	return identity.ChainID(diffs).String()
}
