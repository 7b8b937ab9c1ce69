package image

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// Annotations by which buildkit puts attestations beside the images they are about.
const (
	annotationKind = "vnd.docker.reference.type"
	annotationFor  = "vnd.docker.reference.digest"
	attestation    = "attestation-manifest"
	annotationType = "in-toto.io/predicate-type" // of a statement, on its blob
)

// manifests lists the manifests below target, those that are not here too.
func (s *Store) manifests(ctx context.Context, target ocispec.Descriptor, depth int) ([]ocispec.Descriptor, error) {
	if images.IsManifestType(target.MediaType) {
		return []ocispec.Descriptor{target}, nil
	}
	if !images.IsIndexType(target.MediaType) {
		return nil, nil
	}
	if depth == maxNesting {
		return nil, fault.New(fault.Invalid, "indexes are nested more than %d deep", maxNesting)
	}
	var ix ocispec.Index
	if err := s.readJSON(ctx, target, &ix); err != nil {
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, m := range ix.Manifests {
		below, err := s.manifests(ctx, m, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// Manifests describes the manifests of an image: one for each platform, and the
// attestations. Who uses them is left to the caller.
func (s *Store) Manifests(ctx context.Context, im *Image) ([]apiimage.ManifestSummary, error) {
	ctx = namespaced(ctx)
	all, err := s.manifests(ctx, im.Target, 0)
	if err != nil {
		return nil, err
	}
	l := make([]apiimage.ManifestSummary, 0, len(all))
	for _, d := range all {
		m, err := s.summarize(ctx, d)
		if err != nil {
			return nil, err
		}
		l = append(l, m)
	}
	return l, nil
}

func (s *Store) summarize(ctx context.Context, d ocispec.Descriptor) (apiimage.ManifestSummary, error) {
	m := apiimage.ManifestSummary{ID: d.Digest.String(), Descriptor: d, Kind: apiimage.ManifestKindUnknown}
	blobs, err := s.contents(ctx, d)
	if err != nil {
		return m, err
	}
	for _, b := range blobs {
		m.Size.Content += b.Size
	}
	m.Size.Total = m.Size.Content
	if d.Annotations[annotationKind] == attestation {
		m.Kind, m.Available = apiimage.ManifestKindAttestation, len(blobs) > 1
		m.AttestationData = &apiimage.AttestationProperties{For: digest.Digest(d.Annotations[annotationFor])}
		return m, nil
	}
	m.Kind, m.ImageData = apiimage.ManifestKindImage, &apiimage.ImageProperties{Containers: []string{}}
	if d.Platform != nil {
		m.ImageData.Platform = *d.Platform
	}
	im, err := s.readManifest(ctx, d)
	if errdefs.IsNotFound(err) || fault.Is(err, fault.NotFound) {
		return m, nil // another platform's, not here
	}
	if err != nil {
		return m, err
	}
	if err := s.complete(ctx, im, d); err != nil {
		return m, err
	}
	if d.Platform == nil {
		m.ImageData.Platform = im.Config.Platform
	}
	m.Available = len(blobs) == len(distinct(im))
	m.ImageData.Size.Unpacked = im.Unpacked
	m.Size.Total += im.Unpacked
	return m, nil
}

// distinct are the blobs that an image should have: two layers may be one blob.
func distinct(im *Image) map[digest.Digest]bool {
	d := map[digest.Digest]bool{im.Manifest.Digest: true, im.config.Digest: true}
	for _, l := range im.blobs {
		d[l.Digest] = true
	}
	return d
}

// Sizes returns, by image ID, the bytes that an image has in common with others, and
// those of all images together.
func (s *Store) Sizes(ctx context.Context) (shared map[string]int64, total int64, err error) {
	ctx = namespaced(ctx)
	all := s.index.Load().list
	owners, sizes, parts := map[string]int{}, map[string]int64{}, map[string][]string{}
	for _, im := range all {
		add := func(part string, size int64) {
			owners[part]++
			sizes[part] = size
			parts[im.ID] = append(parts[im.ID], part)
		}
		blobs, err := s.contents(ctx, im.Target)
		if err != nil {
			return nil, 0, err
		}
		for _, b := range blobs {
			add(b.Digest.String(), b.Size)
		}
		im.eachLayer(func(chain string, size int64) { add("layer "+chain, size) })
	}
	shared = map[string]int64{}
	for id, ps := range parts {
		for _, p := range ps {
			if owners[p] > 1 {
				shared[id] += sizes[p]
			}
		}
	}
	for _, size := range sizes {
		total += size
	}
	return shared, total, nil
}

// Attestations lists the statements that are attached to an image for a platform, nil:
// the one that Get chooses. types chooses among their predicate types, none: all. With
// whole each comes with its text.
func (s *Store) Attestations(ctx context.Context, ref string, p *ocispec.Platform, types []string, whole bool) ([]apiimage.AttestationStatement, error) {
	im, err := s.GetPlatform(ctx, ref, p)
	if err != nil {
		return nil, err
	}
	ctx = namespaced(ctx)
	all, err := s.manifests(ctx, im.Target, 0)
	if err != nil {
		return nil, err
	}
	l := []apiimage.AttestationStatement{}
	for _, d := range all {
		if d.Annotations[annotationKind] != attestation || d.Annotations[annotationFor] != im.Manifest.Digest.String() {
			continue
		}
		var m ocispec.Manifest
		if err := s.readJSON(ctx, d, &m); err != nil {
			return nil, err
		}
		for _, blob := range m.Layers {
			t := blob.Annotations[annotationType]
			if t == "" || len(types) > 0 && !slices.Contains(types, t) {
				continue
			}
			st, err := s.statement(ctx, blob, whole)
			if err != nil {
				return nil, err
			}
			l = append(l, st)
		}
	}
	return l, nil
}

func (s *Store) statement(ctx context.Context, blob ocispec.Descriptor, whole bool) (apiimage.AttestationStatement, error) {
	st := apiimage.AttestationStatement{Descriptor: blob, PredicateType: blob.Annotations[annotationType]}
	if !whole {
		return st, nil
	}
	b, err := s.readSmall(ctx, blob)
	if fault.Is(err, fault.Invalid) {
		return st, fmt.Errorf("attestation statement: %w", err)
	}
	if err != nil {
		return st, fault.New(fault.KindOf(err), "attestation statement %s is not available locally: %w", blob.Digest, err)
	}
	raw := json.RawMessage(b)
	st.Statement = &raw
	return st, nil
}
