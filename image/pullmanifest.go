package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// labelSource is containerd's: before the registry's host, the repositories of it that
// have a blob, with commas between them. Blobs are mounted from there when pushed.
const labelSource = "containerd.io/distribution.source."

// chosen is what of an image is pulled.
type chosen struct {
	target   digest.Digest // what the reference stands for
	image    *Image
	attested []ocispec.Descriptor // manifests of attestations about it
}

// choose reads the indexes and manifests below target until it has found the manifest
// for a platform.
func (p *pull) choose(ctx context.Context, target ocispec.Descriptor, wanted *ocispec.Platform) (*chosen, error) {
	want := platforms.DefaultSpec()
	match := platforms.Default()
	if wanted != nil {
		want, match = platforms.Normalize(*wanted), platforms.Only(*wanted)
	}
	var all []ocispec.Descriptor
	if err := p.leaves(ctx, target, 0, &all); err != nil {
		return nil, err
	}
	var best *ocispec.Descriptor
	var have []ocispec.Platform
	for _, m := range all {
		if m.Annotations[annotationKind] != "" || m.Platform.Architecture == "unknown" {
			continue
		}
		have = append(have, *m.Platform)
		if match.Match(*m.Platform) && (best == nil || match.Less(*m.Platform, *best.Platform)) {
			best = &m
		}
	}
	if best == nil {
		return nil, noMatch(want, have)
	}
	im, err := p.manifest(ctx, *best)
	if err != nil {
		return nil, err
	}
	c := &chosen{target: target.Digest, image: im}
	for _, m := range all {
		if m.Annotations[annotationFor] == best.Digest.String() {
			c.attested = append(c.attested, m)
		}
	}
	return c, nil
}

// leaves lists the manifests below d, each with a platform.
func (p *pull) leaves(ctx context.Context, d ocispec.Descriptor, depth int, all *[]ocispec.Descriptor) error {
	switch {
	case images.IsManifestType(d.MediaType):
		if d.Platform == nil && d.Annotations[annotationKind] == "" {
			im, err := p.manifest(ctx, d)
			if err != nil {
				return err
			}
			own := platforms.Normalize(im.Config.Platform)
			if own.Architecture == "" { // of the time when there was one
				own = platforms.DefaultSpec()
			}
			d.Platform = &own
		}
		if d.Platform != nil {
			normal := platforms.Normalize(*d.Platform)
			d.Platform = &normal
		} else {
			d.Platform = &ocispec.Platform{Architecture: "unknown", OS: "unknown"}
		}
		*all = append(*all, d)
		return nil
	case d.MediaType == images.MediaTypeDockerSchema1Manifest:
		return fault.New(fault.Invalid, "it is in docker's image format 1, which nobody makes any more: have it pushed again by a newer program")
	case !images.IsIndexType(d.MediaType):
		if depth > 0 {
			return nil
		}
		return fault.New(fault.Invalid, "%q is no kind of image", d.MediaType)
	case depth == maxNesting:
		return fault.New(fault.Invalid, "indexes are nested more than %d deep", maxNesting)
	}
	var ix ocispec.Index
	if err := p.document(ctx, d, &ix); err != nil {
		return err
	}
	for _, m := range ix.Manifests {
		if err := p.leaves(ctx, m, depth+1, all); err != nil {
			return err
		}
	}
	return nil
}

// manifest fetches a manifest and its configuration.
func (p *pull) manifest(ctx context.Context, d ocispec.Descriptor) (*Image, error) {
	var m ocispec.Manifest
	if err := p.document(ctx, d, &m); err != nil {
		return nil, err
	}
	switch m.Config.MediaType {
	case images.MediaTypeDockerSchema2Config, ocispec.MediaTypeImageConfig, "application/octet-stream": // docker 1.10's
	default:
		return nil, fault.New(fault.Invalid, "it is no image of a root file system but %q", cmp.Or(m.ArtifactType, m.Config.MediaType))
	}
	if err := p.document(ctx, m.Config, new(json.RawMessage)); err != nil {
		return nil, err
	}
	return p.s.readManifest(ctx, d)
}

// document fetches an index, a manifest or a configuration into the store, if it is not
// there, and reads it.
func (p *pull) document(ctx context.Context, d ocispec.Descriptor, v any) error {
	have, err := p.s.haveBlob(ctx, d.Digest)
	if err != nil {
		return err
	}
	if !have {
		if err := p.fetchDocument(ctx, d); err != nil {
			return err
		}
	} else if err := p.s.addSource(ctx, d.Digest, p.ref); err != nil {
		return err
	}
	return p.s.readJSON(ctx, d, v)
}

func (p *pull) fetchDocument(ctx context.Context, d ocispec.Descriptor) error {
	b, err := p.small(ctx, d)
	if err != nil {
		return fmt.Errorf("cannot fetch %s: %w", d.Digest, err)
	}
	labels, err := gcLabels(d.MediaType, func(v any) error { return json.Unmarshal(b, v) })
	if err != nil {
		return fault.New(fault.Invalid, "cannot read %s %s: %w", d.MediaType, d.Digest, err)
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelSource+reference.Domain(p.ref)] = reference.Path(p.ref)
	err = content.WriteBlob(ctx, p.s.content, "pull-"+d.Digest.String(), bytes.NewReader(b), d, content.WithLabels(labels))
	if err != nil {
		return noRoom(fmt.Errorf("cannot store %s: %w", d.Digest, err))
	}
	return nil
}

// small fetches what fits into memory, and checks it.
func (p *pull) small(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fault.New(fault.Invalid, "%q is no digest: %w", d.Digest, err)
	}
	if d.Size > maxJSON {
		return nil, fault.New(fault.Invalid, "%s of %d bytes is larger than %d", d.MediaType, d.Size, maxJSON)
	}
	r, err := p.src.Fetch(ctx, d, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != d.Size {
		return nil, fault.New(fault.Unavailable, "%d bytes came, its descriptor says %d", len(b), d.Size)
	}
	if got := d.Digest.Algorithm().FromBytes(b); got != d.Digest {
		return nil, fault.New(fault.Unavailable, "what came has the digest %s: %w", got, errDigest)
	}
	return b, nil
}

// haveBlob reports whether a blob is in the store, and leases it.
func (s *Store) haveBlob(ctx context.Context, d digest.Digest) (bool, error) {
	// The lease first: a collection between the two calls would take the blob.
	if id, ok := leases.FromContext(ctx); ok {
		if err := s.leases.AddResource(ctx, leases.Lease{ID: id}, leases.Resource{ID: d.String(), Type: "content"}); err != nil {
			return false, fmt.Errorf("cannot lease %s: %w", d, err)
		}
	}
	_, err := s.content.Info(ctx, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// addSource notes that a repository has a blob.
func (s *Store) addSource(ctx context.Context, d digest.Digest, repository reference.Named) error {
	info, err := s.content.Info(ctx, d)
	if err != nil {
		return err
	}
	key, name := labelSource+reference.Domain(repository), reference.Path(repository)
	names := labelled(info.Labels[key])
	if slices.Contains(names, name) {
		return nil
	}
	// The last ones: a label has room for 4,096 bytes.
	names = append(names[max(0, len(names)-7):], name)
	return s.label(ctx, d, map[string]string{key: strings.Join(names, ",")})
}
