package image

import (
	"context"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// contents lists the blobs below target that are here, target first, each once.
func (s *Store) contents(ctx context.Context, target ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	w := walk{s: s, seen: map[string]bool{}}
	err := w.visit(ctx, target, 0)
	return w.found, err
}

type walk struct {
	s     *Store
	seen  map[string]bool
	found []ocispec.Descriptor
}

func (w *walk) visit(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if w.seen[d.Digest.String()] {
		return nil
	}
	w.seen[d.Digest.String()] = true
	if depth > maxNesting+1 {
		return fault.New(fault.Invalid, "indexes are nested more than %d deep", maxNesting)
	}
	info, err := w.s.content.Info(ctx, d.Digest)
	if errdefs.IsNotFound(err) {
		return nil // another platform's
	}
	if err != nil {
		return err
	}
	d.Size = info.Size
	w.found = append(w.found, d)
	if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
		return nil
	}
	var bad error
	for _, c := range children(d.MediaType, func(v any) error { bad = w.s.readJSON(ctx, d, v); return bad }) {
		if err := w.visit(ctx, c, depth+1); err != nil {
			return err
		}
	}
	if errdefs.IsNotFound(bad) {
		return nil // collected since
	}
	return bad
}
