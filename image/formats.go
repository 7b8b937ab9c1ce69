package image

import (
	"context"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image/extract"
	"hoy/lib/fault"
)

// dockerManifest is an entry of manifest.json, docker save's own table.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// images stores the archive's images. Both tables may be there: docker save writes
// manifest.json beside an OCI layout since 25; then the layout counts, as its
// manifests carry the digests that the image had where it was saved.
func (a *outer) images(ctx context.Context) ([]found, error) {
	var layout ocispec.ImageLayout
	isLayout, err := a.json(ctx, ocispec.ImageLayoutFile, &layout)
	if err != nil {
		return nil, err
	}
	var legacy []dockerManifest
	isDocker, err := a.json(ctx, "manifest.json", &legacy)
	if err != nil {
		return nil, err
	}
	if isLayout {
		if layout.Version != ocispec.ImageLayoutVersion {
			return nil, fault.New(fault.Invalid, "OCI layout has version %q, only %s is known", layout.Version, ocispec.ImageLayoutVersion)
		}
		return a.layout(ctx, legacy)
	}
	if !isDocker {
		return nil, fault.As(fault.Invalid, errNoImage)
	}
	return a.docker(ctx, legacy)
}

// layout reads an OCI image layout.
func (a *outer) layout(ctx context.Context, legacy []dockerManifest) ([]found, error) {
	var ix ocispec.Index
	ok, err := a.json(ctx, ocispec.ImageIndexFile, &ix)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Invalid, "OCI layout without index.json")
	}
	var all []found
	for _, d := range ix.Manifests {
		if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
			continue
		}
		if a.blob(d) == nil {
			return nil, fault.New(fault.Invalid, "the archive lacks %s, which its index.json names", d.Digest)
		}
		if err := a.keepTree(ctx, d, 0); err != nil {
			return nil, err
		}
		target := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
		name, err := a.nameOf(ctx, d, legacy)
		if err != nil {
			return nil, err
		}
		all = append(all, found{name, target})
	}
	return all, nil
}

// nameOf is the name that a layout gives an image: containerd's annotation, the
// specification's where it is a whole reference and not a tag alone, or what
// manifest.json says of the same configuration.
func (a *outer) nameOf(ctx context.Context, d ocispec.Descriptor, legacy []dockerManifest) (string, error) {
	if n := d.Annotations[images.AnnotationImageName]; n != "" {
		return canonical(n)
	}
	if len(legacy) == 1 && len(legacy[0].RepoTags) > 0 {
		return canonical(legacy[0].RepoTags[0])
	}
	n := d.Annotations[ocispec.AnnotationRefName]
	if n == "" {
		return "", nil
	}
	ref, err := reference.ParseNormalizedNamed(n)
	if err != nil {
		return "", nil // the annotation's form is free
	}
	if _, tagged := ref.(reference.Tagged); !tagged {
		return "", nil // "latest" would read as a repository of that name
	}
	return canonical(n)
}

// canonical is how names are stored.
func canonical(name string) (string, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", fault.New(fault.Invalid, "the archive names an image %q: %w", name, err)
	}
	return reference.TagNameOnly(ref).String(), nil
}

// docker reads manifest.json and makes the manifests it stands for.
func (a *outer) docker(ctx context.Context, entries []dockerManifest) ([]found, error) {
	var all []found
	for _, e := range entries {
		target, err := a.dockerImage(ctx, e)
		if err != nil {
			return nil, err
		}
		if len(e.RepoTags) == 0 {
			all = append(all, found{"", target})
		}
		for _, t := range e.RepoTags {
			name, err := canonical(t)
			if err != nil {
				return nil, err
			}
			all = append(all, found{name, target})
		}
	}
	return all, nil
}

func (a *outer) dockerImage(ctx context.Context, e dockerManifest) (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	p := a.file(e.Config)
	if p == nil {
		return none, fault.New(fault.Invalid, "the archive lacks the configuration %q, which its manifest.json names", e.Config)
	}
	config, err := a.keep(ctx, p, images.MediaTypeDockerSchema2Config, nil)
	if err != nil {
		return none, err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: images.MediaTypeDockerSchema2Manifest,
		Config:    config,
		Layers:    []ocispec.Descriptor{},
	}
	for _, name := range e.Layers {
		l, err := a.dockerLayer(ctx, name)
		if err != nil {
			return none, err
		}
		m.Layers = append(m.Layers, l)
	}
	labels, err := gcLabels(m.MediaType, func(v any) error { *v.(*ocispec.Manifest) = m; return nil })
	if err != nil {
		return none, err
	}
	return a.s.putJSON(ctx, m.MediaType, m, labels)
}

func (a *outer) dockerLayer(ctx context.Context, name string) (ocispec.Descriptor, error) {
	p := a.file(name)
	if p == nil {
		return ocispec.Descriptor{}, fault.New(fault.Invalid, "the archive lacks the layer %q, which its manifest.json names", name)
	}
	head := p.data
	if head == nil && p.size > 0 {
		ra, err := a.s.content.ReaderAt(ctx, ocispec.Descriptor{Digest: p.digest, Size: p.size})
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		head = make([]byte, 8)
		_, err = ra.ReadAt(head, 0)
		ra.Close()
		if err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	mediaType := images.MediaTypeDockerSchema2Layer
	switch extract.Detect(head) {
	case extract.Gzip:
		mediaType = images.MediaTypeDockerSchema2LayerGzip
	case extract.Zstd:
		mediaType = images.MediaTypeDockerSchema2LayerZstd
	}
	return a.keep(ctx, p, mediaType, nil)
}
