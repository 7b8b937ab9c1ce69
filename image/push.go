package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// PushOptions says what of an image to push.
type PushOptions struct {
	Platform *ocispec.Platform // nil: the image as it is, or what of it is here
	Progress func(Progress)    // as with a pull
}

// Sent is what a push has made the tag stand for.
type Sent struct {
	Target  ocispec.Descriptor
	Instead *ocispec.Descriptor // the index that would have been pushed if all of it were here
	Labels  map[string]string
}

// errAbsent is in the error for content that neither this store nor the registry has.
var errAbsent = errors.New("its content is neither here nor in the registry")

// Push sends the image with the name ref, which has a tag or a digest, to dst. Of an
// index that is not here with all its platforms it sends, as docker does, the manifest
// for this machine's alone, or the only one there is.
func (s *Store) Push(ctx context.Context, ref reference.Named, dst Target, o PushOptions) (*Sent, error) {
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	im := s.index.Load().names[ref.String()]
	if im == nil {
		return nil, fault.New(fault.NotFound, "tag does not exist: %s", reference.FamiliarString(ref))
	}
	target, err := s.leased(ctx, im, nil)
	if err != nil {
		return nil, err
	}
	p := &push{s: s, ref: ref, dst: dst, report: newReport(o.Progress)}
	defer p.report.end()
	sent := &Sent{Target: target, Labels: im.Config.Config.Labels}
	if o.Platform != nil {
		if sent.Target, err = s.present(ctx, im, o.Platform); err != nil {
			return nil, err
		}
		return sent, p.run(ctx, sent.Target)
	}
	err = p.run(ctx, target)
	if !errors.Is(err, errAbsent) || !images.IsIndexType(target.MediaType) {
		return sent, err
	}
	if sent.Target, err = s.present(ctx, im, nil); err != nil {
		return nil, err
	}
	sent.Instead = &target
	return sent, p.run(ctx, sent.Target)
}

// present chooses the manifest to push for a platform, nil: this machine's or the only
// one, among those that are here whole.
func (s *Store) present(ctx context.Context, im *Image, p *ocispec.Platform) (ocispec.Descriptor, error) {
	all, err := s.candidates(ctx, im.Target, 0)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	name := im.ID
	if len(im.RepoTags) > 0 {
		name = im.RepoTags[0]
	}
	var whole, host []ocispec.Descriptor
	for _, c := range all {
		own := platforms.Normalize(c.Config.Platform)
		if p != nil && !platforms.OnlyStrict(*p).Match(own) {
			continue
		}
		if blobs, err := s.contents(ctx, c.Manifest); err != nil {
			return ocispec.Descriptor{}, err
		} else if len(blobs) < len(distinct(c)) {
			continue
		}
		d := ocispec.Descriptor{MediaType: c.Manifest.MediaType, Digest: c.Manifest.Digest, Size: c.Manifest.Size}
		whole = append(whole, d)
		if platforms.Default().Match(own) {
			host = append(host, d)
		}
	}
	switch {
	case len(whole) == 1:
		return whole[0], nil
	case len(whole) == 0 && p == nil:
		return ocispec.Descriptor{}, fault.New(fault.NotFound, "image with reference %s was found but does not provide any platform", name)
	case len(whole) == 0:
		return ocispec.Descriptor{}, fault.New(fault.NotFound, "image with reference %s was found but does not provide the specified platform (%s)", name, platforms.FormatAll(*p))
	case p == nil && len(host) > 0:
		return host[0], nil
	case p == nil:
		return ocispec.Descriptor{}, fault.New(fault.Conflict, "multiple matching manifests found but no specific platform requested")
	}
	return ocispec.Descriptor{}, fault.New(fault.Conflict, "multiple manifests found for platform %s", platforms.FormatAll(*p))
}

// push is one run of Store.Push.
type push struct {
	s      *Store
	ref    reference.Named
	dst    Target
	report *report
}

// plan is what has to be in the registry, in this order.
type plan struct {
	blobs     []blobToSend
	manifests []ocispec.Descriptor // children before parents
	seen      map[string]bool
}

type blobToSend struct {
	ocispec.Descriptor
	here    bool
	sources []reference.Named // repositories of this registry that have it
}

func (p *push) run(ctx context.Context, target ocispec.Descriptor) error {
	todo := &plan{seen: map[string]bool{}}
	if err := p.gather(ctx, target, todo, 0); err != nil {
		return err
	}
	if err := p.blobs(ctx, todo.blobs); err != nil {
		return err
	}
	return p.manifests(ctx, target, todo.manifests)
}

// gather lists the tree below d, and what refers to its manifests.
func (p *push) gather(ctx context.Context, d ocispec.Descriptor, todo *plan, depth int) error {
	if depth > maxNesting+2 {
		return fault.New(fault.Invalid, "indexes are nested more than %d deep", maxNesting)
	}
	if todo.seen[d.Digest.String()] {
		return nil
	}
	todo.seen[d.Digest.String()] = true
	info, err := p.s.content.Info(ctx, d.Digest)
	here := err == nil
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
		if !images.IsNonDistributable(d.MediaType) { // these are fetched from where their manifest says
			todo.blobs = append(todo.blobs, blobToSend{d, here, p.sources(info.Labels)})
		}
		return nil
	}
	if !here {
		return p.elsewhere(ctx, d)
	}
	var bad error
	below := children(d.MediaType, func(v any) error { bad = p.s.readJSON(ctx, d, v); return bad })
	if bad != nil {
		return bad
	}
	mounted := len(todo.blobs)
	for _, c := range below {
		if err := p.gather(ctx, c, todo, depth+1); err != nil {
			return err
		}
	}
	for i := range todo.blobs[mounted:] { // layers that were never fetched come from where the manifest does
		if b := &todo.blobs[mounted+i]; !b.here {
			b.sources = append(b.sources, p.sources(info.Labels)...)
		}
	}
	todo.manifests = append(todo.manifests, d)
	return p.referrers(ctx, info, todo, depth)
}

// referrers lists what refers to a manifest, as a pull has kept it.
func (p *push) referrers(ctx context.Context, subject content.Info, todo *plan, depth int) error {
	for _, r := range referring(subject.Labels) {
		info, err := p.s.content.Info(ctx, r)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		d := ocispec.Descriptor{Digest: r, Size: info.Size}
		var m ocispec.Manifest
		if err := p.s.readJSON(ctx, d, &m); err != nil {
			return err
		}
		d.MediaType = m.MediaType
		if !images.IsManifestType(d.MediaType) {
			d.MediaType = ocispec.MediaTypeImageManifest // which need not say what it is
		}
		if err := p.gather(ctx, d, todo, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere is content with a manifest that is not here if the registry has it.
func (p *push) elsewhere(ctx context.Context, d ocispec.Descriptor) error {
	there, err := p.dst.Exists(ctx, d)
	if err != nil || there {
		return err
	}
	of := ""
	if d.Platform != nil {
		of = " for " + platforms.FormatAll(*d.Platform)
	}
	return fault.New(fault.NotFound, "cannot push manifest %s%s: %w", d.Digest, of, errAbsent)
}

// manifests stores manifests, the target under the tag.
func (p *push) manifests(ctx context.Context, target ocispec.Descriptor, all []ocispec.Descriptor) error {
	for _, d := range all {
		raw, err := p.s.readSmall(ctx, d)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", d.Digest, err)
		}
		tag := ""
		if t, ok := p.ref.(reference.Tagged); ok && d.Digest == target.Digest {
			tag = t.Tag()
		}
		if err := p.dst.PutManifest(ctx, d, raw, tag); err != nil {
			return err
		}
		if err := p.s.addSource(ctx, d.Digest, p.ref); err != nil {
			return err
		}
	}
	return nil
}
