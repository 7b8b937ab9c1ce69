package daemon

import (
	"context"
	"encoding/json"
	"io"
	"slices"

	containerimages "github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry"
	"hoy/server"
)

// Manifest fetches what a name stands for, and of an image the platform.
func (r registries) Manifest(ctx context.Context, ref string, o server.ManifestOptions) (*server.Manifest, error) {
	repo, _, tag, err := r.repository(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	d, err := repo.Resolve(ctx, tag)
	if err != nil {
		return nil, err
	}
	raw, err := fetchSmall(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	if containerimages.IsManifestType(d.MediaType) {
		if l, err := remotePlatforms(ctx, repo, d); err == nil && len(l) == 1 {
			d.Platform = &l[0]
		}
	}
	return &server.Manifest{Descriptor: d, Raw: raw}, nil
}

// PutManifest stores a manifest or index under a tag, or by its digest.
func (r registries) PutManifest(ctx context.Context, ref string, m server.Manifest, o server.ManifestOptions) (*ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: m.Descriptor.MediaType, Digest: digest.FromBytes(m.Raw), Size: int64(len(m.Raw))}
	if !containerimages.IsManifestType(d.MediaType) && !containerimages.IsIndexType(d.MediaType) {
		return nil, fault.New(fault.Invalid, "%q is the media type of no manifest and no index", d.MediaType)
	}
	repo, named, tag, err := r.repository(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	if n, ok := named.(reference.Digested); ok {
		if n.Digest() != d.Digest {
			return nil, fault.New(fault.Invalid, "the manifest's digest is %s, not %s", d.Digest, n.Digest())
		}
		tag = ""
	}
	if o.From != "" {
		if err := r.copyBlobs(ctx, repo, named, m.Raw, o); err != nil {
			return nil, err
		}
	}
	if err := repo.PutManifest(ctx, d, m.Raw, tag); err != nil {
		return nil, err
	}
	return &d, nil
}

// copyBlobs makes the blobs of an image that another repository of the registry has those
// of this one too. They are mounted, and sent through the engine where the registry does
// not do that.
func (r registries) copyBlobs(ctx context.Context, to *registry.Repository, named reference.Named, raw []byte, o server.ManifestOptions) error {
	from, source, _, err := r.repository(ctx, o.From, o)
	if err != nil {
		return err
	}
	if reference.Domain(source) != reference.Domain(named) {
		return fault.New(fault.Invalid, "cannot use source images from a different registry than the target image: %s != %s", reference.Domain(source), reference.Domain(named))
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return fault.New(fault.Invalid, "cannot read the manifest: %w", err)
	}
	for _, b := range slices.Concat([]ocispec.Descriptor{m.Config}, m.Layers) {
		if containerimages.IsNonDistributable(b.MediaType) {
			continue // clients have them from elsewhere
		}
		if there, err := to.Exists(ctx, b); err != nil {
			return err
		} else if there {
			continue
		}
		if mounted, err := to.Mount(ctx, b, reference.TrimNamed(source)); err != nil {
			return err
		} else if mounted {
			continue
		}
		open := func(off int64) (io.ReadCloser, error) { return from.Fetch(ctx, b, off, -1) }
		if err := to.Upload(ctx, b, open, func(int64) {}); err != nil {
			return err
		}
	}
	return nil
}
