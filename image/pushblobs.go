package image

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"hoy/lib/fault"
)

// questions is how many blobs a registry is asked for at a time.
const questions = 8

// blobs brings blobs into the registry, all at the same time.
func (p *push) blobs(ctx context.Context, all []blobToSend) error {
	for _, b := range all {
		p.tell(b, Progress{State: Preparing})
	}
	g, ctx := errgroup.WithContext(ctx)
	asked := &gate{}
	asked.set(questions)
	for _, b := range all {
		g.Go(func() error { return p.blob(ctx, b, asked) })
	}
	return g.Wait()
}

// tell reports on what people know: not on configurations.
func (p *push) tell(b blobToSend, at Progress) {
	if !images.IsConfigType(b.MediaType) {
		at.Digest = b.Digest
		p.report.send(at)
	}
}

func (p *push) blob(ctx context.Context, b blobToSend, asked *gate) error {
	if err := asked.enter(ctx); err != nil {
		return err
	}
	at, err := p.without(ctx, b)
	asked.leave()
	if err != nil {
		return err
	}
	if at.State == Preparing {
		if !b.here {
			return fault.New(fault.NotFound, "cannot push %s: %w", b.Digest, errAbsent)
		}
		if err := p.upload(ctx, b); err != nil {
			return err
		}
		at.State = Pushed
	}
	p.tell(b, at)
	if !b.here {
		return nil
	}
	return p.s.addSource(ctx, b.Digest, p.ref)
}

// without tries to do without sending a blob; Preparing: it has to be sent.
func (p *push) without(ctx context.Context, b blobToSend) (Progress, error) {
	there, err := p.dst.Exists(ctx, b.Descriptor)
	if err != nil {
		return Progress{}, err
	}
	if there {
		return Progress{State: There}, nil
	}
	for _, from := range b.sources {
		mounted, err := p.dst.Mount(ctx, b.Descriptor, from)
		if err != nil {
			return Progress{}, err
		}
		if mounted {
			return Progress{State: Mounted, From: reference.Path(from)}, nil
		}
	}
	return Progress{State: Preparing}, nil
}

// upload sends a blob.
func (p *push) upload(ctx context.Context, b blobToSend) error {
	if err := p.s.uploads.enter(ctx); err != nil {
		return err
	}
	defer p.s.uploads.leave()
	ra, err := p.s.content.ReaderAt(ctx, b.Descriptor)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", b.Digest, err)
	}
	defer ra.Close()
	if ra.Size() != b.Size {
		return fault.New(fault.Invalid, "%s has %d bytes, its manifest says %d", b.Digest, ra.Size(), b.Size)
	}
	var sent atomic.Int64
	if !images.IsConfigType(b.MediaType) {
		defer p.report.watch(func() (Progress, bool) {
			return Progress{State: Pushing, Digest: b.Digest, Current: sent.Load(), Total: b.Size}, true
		})()
	}
	open := func(off int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(ra, off, b.Size-off)), nil
	}
	return p.dst.Upload(ctx, b.Descriptor, open, sent.Store)
}

// sources are the other repositories of the registry that have a blob with these labels.
func (p *push) sources(labels map[string]string) (l []reference.Named) {
	for _, name := range labelled(labels[labelSource+reference.Domain(p.ref)]) {
		from, err := reference.WithName(reference.Domain(p.ref) + "/" + name)
		if err == nil && from.Name() != p.ref.Name() {
			l = append(l, from)
		}
	}
	return l
}

// referring are the digests of what refers to a manifest with these labels.
func referring(labels map[string]string) (l []digest.Digest) {
	for k, v := range labels {
		if strings.HasPrefix(k, labelReferrerRef) {
			l = append(l, digest.Digest(v))
		}
	}
	return l
}

// labelled takes the repositories of a source label apart.
func labelled(label string) []string {
	return strings.FieldsFunc(label, func(r rune) bool { return r == ',' })
}
