package image

import (
	"context"
	"fmt"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// PullOptions says what to pull.
type PullOptions struct {
	Platform *ocispec.Platform // nil: this machine's
	Progress func(Progress)    // nil: nobody is told. It is called by one goroutine at a time
	// Check refuses an image by an error, before anything of it is fetched; nil: none.
	Check func(ctx context.Context, target ocispec.Descriptor) error
}

// Pulled is what a pull has brought.
type Pulled struct {
	Image  *Image
	Target ocispec.Descriptor // what the reference stands for: an index or a manifest
	Newer  bool               // the name stood for something else before, or for nothing
}

// Pull brings in the image that ref, a tag or a digest, stands for in src, for one
// platform. What is here already is not fetched. What a pull has fetched when it ends
// early is kept for a week for the next one to go on with, except on a full disk.
//
// An image that keeps its name and changes its content leaves the old one dangling.
func (s *Store) Pull(ctx context.Context, ref reference.Named, src Source, o PullOptions) (*Pulled, error) {
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	p := &pull{s: s, ref: reference.TagNameOnly(ref), src: src, report: newReport(o.Progress)}
	defer p.report.end()
	return p.run(ctx, o)
}

// pull is one run of Store.Pull.
type pull struct {
	s      *Store
	ref    reference.Named // with a tag or a digest
	src    Source
	report *report
}

func (p *pull) run(ctx context.Context, o PullOptions) (*Pulled, error) {
	target, err := p.resolve(ctx)
	if err == nil && o.Check != nil {
		err = o.Check(ctx, target)
	}
	if err != nil {
		return nil, err
	}
	c, err := p.choose(ctx, target, o.Platform)
	if err != nil {
		return nil, err
	}
	p.report.send(Progress{State: Resolved, Digest: target.Digest})
	if err := p.content(ctx, c); err != nil {
		return nil, fmt.Errorf("cannot pull %s: %w", reference.FamiliarString(p.ref), err)
	}
	if err := failpoint.Hit(failpoint.ImagePullLayers); err != nil {
		return nil, err
	}
	old, err := p.s.Get(ctx, p.ref.String())
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err := p.s.setName(ctx, p.ref.String(), target); err != nil {
		return nil, err
	}
	im, err := p.s.Get(ctx, p.ref.String())
	if err != nil {
		return nil, err
	}
	return &Pulled{Image: im, Target: target, Newer: old == nil || old.Target.Digest != target.Digest}, nil
}

// resolve asks the registry what the reference stands for.
func (p *pull) resolve(ctx context.Context) (ocispec.Descriptor, error) {
	digested, byDigest := p.ref.(reference.Digested)
	tag := ""
	if t, ok := p.ref.(reference.Tagged); ok {
		tag = t.Tag()
	}
	if byDigest {
		tag = digested.Digest().String()
	}
	target, err := p.src.Resolve(ctx, tag)
	if err != nil {
		return target, err
	}
	if byDigest && target.Digest != digested.Digest() {
		return target, fault.New(fault.Unavailable, "the registry gives %s for it", target.Digest)
	}
	return target, nil
}

// noMatch is docker's error for a platform that an image is not for, and what there is.
func noMatch(wanted ocispec.Platform, have []ocispec.Platform) error {
	hint := "it is for no platform at all"
	if len(have) > 0 {
		hint = "there are "
		for i, p := range have {
			if i > 0 {
				hint += ", "
			}
			hint += platforms.FormatAll(p)
		}
		hint += ": --platform chooses one"
	}
	return fault.New(fault.NotFound, "no matching manifest for %s in the manifest list entries: %s", platforms.FormatAll(wanted), hint)
}
