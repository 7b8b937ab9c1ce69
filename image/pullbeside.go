package image

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// labelReferrerRef keeps what refers to a manifest from the garbage collector, as
// containerd does it: with the first digits of the digest behind it.
const labelReferrerRef = "containerd.io/gc.ref.content.referrer.sha256."

// maxBeside bounds the bytes of what one attestation or referrer consists of; there may
// be anything among the referrers.
const maxBeside = maxJSON

// patience is how long a pull waits for referrers: it would be done without them.
const patience = 30 * time.Second

// beside keeps what is attested of an image: the attestations that its index names, and
// the manifests that refer to it (signatures, bills of materials). An image is whole
// without referrers: what is wrong with them is only logged.
func (p *pull) beside(ctx context.Context, c *chosen) error {
	for _, d := range c.attested {
		if err := p.artifact(ctx, d); err != nil {
			return fmt.Errorf("cannot fetch attestation: %w", err)
		}
	}
	if err := p.referrers(ctx, c.image.Manifest.Digest); err != nil || c.target == c.image.Manifest.Digest {
		return err
	}
	return p.referrers(ctx, c.target)
}

func (p *pull) referrers(ctx context.Context, subject digest.Digest) error {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := p.src.Referrers(soon, subject)
	if err != nil {
		return p.unimportant(ctx, "cannot list what refers to an image", err)
	}
	for _, d := range found {
		if err := p.artifact(soon, d); err != nil {
			if err := p.unimportant(ctx, "cannot fetch what refers to an image", err); err != nil {
				return err
			}
			continue
		}
		key := labelReferrerRef + d.Digest.Encoded()[:12]
		if err := p.s.label(ctx, subject, map[string]string{key: d.Digest.String()}); err != nil {
			return err
		}
	}
	return nil
}

func (p *pull) unimportant(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	slog.Warn(what, "image", p.ref.String(), "error", err)
	return nil
}

// artifact fetches a manifest and all that it names, if that is not too much.
func (p *pull) artifact(ctx context.Context, d ocispec.Descriptor) error {
	if !images.IsManifestType(d.MediaType) {
		return fmt.Errorf("%s is a %q, not a manifest", d.Digest, d.MediaType)
	}
	var m ocispec.Manifest
	if err := p.document(ctx, d, &m); err != nil {
		return err
	}
	blobs := append([]ocispec.Descriptor{m.Config}, m.Layers...)
	var size int64
	for _, b := range blobs {
		// One by one: they may be any numbers, and their sum too large for its type.
		if size += b.Size; b.Size < 0 || b.Size > maxBeside || size > maxBeside {
			return fmt.Errorf("%s has more than %d bytes, the most that is kept beside an image, or less than none", d.Digest, maxBeside)
		}
	}
	for _, b := range blobs {
		have, err := p.s.haveBlob(ctx, b.Digest)
		if err != nil {
			return err
		}
		if !have {
			err = p.fetchDocument(ctx, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
