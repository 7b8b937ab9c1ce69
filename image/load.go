package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image/extract"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// Load brings in the images of an archive that docker save, buildx or any tool for
// OCI layouts has made, which may be compressed. Of an image for several platforms
// it unpacks the one of this machine, or the first of those wanted; with wanted
// platforms it is an error when the archive has none of them.
//
// An image whose layer came as it was made, and is no archive, is kept for whoever wants
// to look at it or send it on, as docker does: it cannot be run, and that is said.
//
// An image that keeps its name and changes its content leaves the old one dangling.
// The images before a failing one of the same archive stay.
func (s *Store) Load(ctx context.Context, r io.Reader, wanted ...ocispec.Platform) ([]Loaded, error) {
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	a, err := s.readArchive(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("cannot load image: %w", err)
	}
	found, err := a.images(ctx)
	if err == nil {
		err = failpoint.Hit(failpoint.StoreLoadStored)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot load image: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Invalid, "cannot load image: the archive holds no image")
	}
	var loaded []Loaded
	for _, f := range found {
		l, err := s.loadOne(ctx, f, wanted)
		if err != nil {
			return loaded, fmt.Errorf("cannot load image %s: %w", f.label(), err)
		}
		loaded = append(loaded, l)
	}
	return loaded, nil
}

// found is one image of an archive, its blobs stored.
type found struct {
	name   string // canonical; "" when the archive gives none
	target ocispec.Descriptor
}

func (f found) label() string {
	if f.name == "" {
		return f.target.Digest.String()
	}
	return familiar(f.name)
}

func (s *Store) loadOne(ctx context.Context, f found, wanted []ocispec.Platform) (Loaded, error) {
	all, err := s.candidates(ctx, f.target, 0)
	if err != nil {
		return Loaded{}, err
	}
	im := choose(all, wanted)
	if im == nil {
		if len(wanted) > 0 {
			return Loaded{}, fault.New(fault.NotFound, "requested platform(s) (%v) not found", formatAll(wanted))
		}
		return Loaded{}, fault.New(fault.Invalid, "the archive has no manifest with its configuration")
	}
	unready := s.makeReady(ctx, im)
	if unready != nil && (!errors.Is(unready, extract.ErrNoArchive) || !s.asMade(ctx, im)) {
		return Loaded{}, unready
	}
	if err := s.setName(ctx, f.name, f.target); err != nil {
		return Loaded{}, err
	}
	got, err := s.Get(ctx, f.target.Digest.String())
	if err != nil {
		return Loaded{}, err
	}
	l := Loaded{Image: got, NotRunnable: unready}
	if f.name != "" {
		l.Name = familiar(f.name)
	}
	return l, nil
}

// asMade reports whether the layers have the digests of the configuration: then they are
// as whoever made the image wanted them, archives or not.
func (s *Store) asMade(ctx context.Context, im *Image) bool {
	same := func(blob ocispec.Descriptor, diff digest.Digest) bool {
		ra, err := s.content.ReaderAt(ctx, blob)
		if err != nil {
			return false
		}
		defer ra.Close()
		plain, _, err := extract.Decompress(content.NewReader(ra))
		if err != nil {
			return false
		}
		defer plain.Close()
		var r io.Reader = plain
		if most := s.o.MaxUnpacked; most > 0 {
			r = io.LimitReader(plain, most)
		}
		d, err := digest.Canonical.FromReader(r)
		return err == nil && d == diff
	}
	for i, l := range im.blobs {
		if !same(l, im.Config.RootFS.DiffIDs[i]) {
			return false
		}
	}
	return true
}

// checkBlobs makes sure that the archive brought all layers, before work begins.
func (s *Store) checkBlobs(ctx context.Context, im *Image) error {
	for i, l := range im.blobs {
		info, err := s.content.Info(ctx, l.Digest)
		if errdefs.IsNotFound(err) {
			if have, err := s.haveLayer(ctx, chainID(im.Config.RootFS.DiffIDs[:i+1])); have || err != nil {
				return err
			}
			return fault.New(fault.Invalid, "layer %s is not here", l.Digest)
		}
		if err != nil {
			return err
		}
		if info.Size != l.Size {
			return fault.New(fault.Invalid, "layer %s has %d bytes, its manifest says %d", l.Digest, info.Size, l.Size)
		}
	}
	return nil
}

func formatAll(ps []ocispec.Platform) []string {
	var out []string
	for _, p := range ps {
		out = append(out, platforms.FormatAll(p))
	}
	return out
}

// gcLabels names a manifest's or index's children for the garbage collector.
func gcLabels(mediaType string, raw func(v any) error) (map[string]string, error) {
	labels := map[string]string{}
	switch {
	case images.IsManifestType(mediaType):
		var m ocispec.Manifest
		if err := raw(&m); err != nil {
			return nil, err
		}
		labels[labelConfigRef] = m.Config.Digest.String()
		for i, l := range m.Layers {
			labels[fmt.Sprint(labelLayerRef, i)] = l.Digest.String()
		}
	case images.IsIndexType(mediaType):
		var ix ocispec.Index
		if err := raw(&ix); err != nil {
			return nil, err
		}
		for i, m := range ix.Manifests {
			labels[fmt.Sprint(labelManifestRef, i)] = m.Digest.String()
		}
	}
	return labels, nil
}

var errNoImage = errors.New("neither manifest.json nor an OCI index.json is in it: this is no image archive (a root file system is brought in by import)")
