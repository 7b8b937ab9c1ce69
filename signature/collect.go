package signature

import (
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// Source is the repository that an image comes from (image.Source).
type Source interface {
	Resolve(ctx context.Context, tag string) (ocispec.Descriptor, error)
	Fetch(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error)
	Referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error)
}

// Bounds of what a registry may give for one image.
const (
	maxSignatures = 32
	maxBlob       = 1 << 20 // bytes
)

// What cosign's attachments and sigstore's bundles are called.
const (
	simpleSigning       = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundlePrefix        = "application/vnd.dev.sigstore.bundle"
	annotationSignature = "dev.cosignproject.cosign/signature"
	annotationCert      = "dev.sigstore.cosign/certificate"
	annotationChain     = "dev.sigstore.cosign/chain"
	annotationBundle    = "dev.sigstore.cosign/bundle"
)

// collect gathers the signatures of an image: those that cosign attaches by a tag, and
// the bundles that refer to it.
func collect(ctx context.Context, src Source, image digest.Digest) (r Request, err error) {
	tag := image.Algorithm().String() + "-" + image.Encoded() + ".sig"
	attached, err := src.Resolve(ctx, tag)
	switch {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return r, err
	default:
		if err := r.addAttached(ctx, src, attached); err != nil {
			return r, err
		}
	}
	referrers, err := src.Referrers(ctx, image)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return r, err
	}
	for _, d := range referrers {
		if !strings.HasPrefix(d.ArtifactType, bundlePrefix) || len(r.Bundles) == maxSignatures {
			continue
		}
		layers, err := layersOf(ctx, src, d)
		if err != nil {
			return r, err
		}
		for _, l := range layers {
			b, err := read(ctx, src, l)
			if err != nil {
				return r, err
			}
			r.Bundles = append(r.Bundles, b)
		}
	}
	return r, nil
}

func (r *Request) addAttached(ctx context.Context, src Source, d ocispec.Descriptor) error {
	layers, err := layersOf(ctx, src, d)
	if err != nil {
		return err
	}
	for _, l := range layers {
		a := l.Annotations
		if l.MediaType != simpleSigning || a[annotationSignature] == "" {
			continue
		}
		payload, err := read(ctx, src, l)
		if err != nil {
			return err
		}
		r.Attached = append(r.Attached, Attached{payload, a[annotationSignature], a[annotationCert], a[annotationChain], a[annotationBundle]})
	}
	return nil
}

func layersOf(ctx context.Context, src Source, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	b, err := read(ctx, src, d)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fault.New(fault.Invalid, "cannot read manifest of signatures %s: %w", d.Digest, err)
	}
	return m.Layers[:min(len(m.Layers), maxSignatures)], nil
}

// read reads a small blob and compares its digest.
func read(ctx context.Context, src Source, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxBlob || d.Digest.Validate() != nil {
		return nil, fault.New(fault.Invalid, "signature %s of %d bytes: %d are the most there can be", d.Digest, d.Size, maxBlob)
	}
	r, err := src.Fetch(ctx, d, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxBlob+1))
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(b); got != d.Digest {
		return nil, fault.New(fault.Invalid, "signature %s has digest %s", d.Digest, got)
	}
	return b, nil
}
