package image

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"hoy/lib/fault"
)

// content brings in layers, attestations and referrers.
func (p *pull) content(ctx context.Context, c *chosen) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.layers(ctx, c.image) })
	g.Go(func() error { return p.beside(ctx, c) })
	return g.Wait()
}

// layers fetches and unpacks the layers that are not here, all at the same time.
func (p *pull) layers(ctx context.Context, im *Image) error {
	diffs := im.Config.RootFS.DiffIDs
	todo, err := p.missing(ctx, im)
	if err != nil {
		return err
	}
	stages := make([]*staged, len(diffs))
	defer func() {
		for _, st := range stages {
			if st != nil {
				st.drop()
			}
		}
	}()
	g, gctx := errgroup.WithContext(ctx)
	// Where another pull of the same image unpacks it, this one takes part in the
	// fetching and waits with the rest.
	turn, release := make(chan struct{}), func() {}
	defer func() { release() }()
	g.Go(func() (err error) {
		if release, err = p.s.turn(gctx, im.Manifest.Digest); err == nil {
			close(turn)
		}
		return err
	})
	for _, i := range todo {
		g.Go(func() (err error) {
			stages[i], err = p.layer(gctx, im, i, turn)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := p.s.commitLayers(ctx, diffs, stages); err != nil {
		return noRoom(err)
	}
	if chain := chainID(diffs); chain != "" {
		if err := p.s.label(ctx, im.ConfigDigest, map[string]string{labelSnapshotRef: chain}); err != nil {
			return err
		}
	}
	for _, i := range todo {
		p.report.send(Progress{State: Complete, Digest: im.blobs[i].Digest})
	}
	return nil
}

// missing tells which layers are not here, and makes sure that they have room. One that
// is unpacked but has no blob, because containers outlived its image or because another
// image brought the same files compressed otherwise, is fetched: without its blob an
// image can be neither saved nor pushed.
func (p *pull) missing(ctx context.Context, im *Image) (todo []int, err error) {
	var fetched []ocispec.Descriptor
	for i, d := range im.blobs {
		have, err := p.s.haveLayer(ctx, chainID(im.Config.RootFS.DiffIDs[:i+1]))
		if err != nil {
			return nil, err
		}
		blob, err := p.s.haveBlob(ctx, d.Digest)
		if err != nil {
			return nil, err
		}
		if blob {
			if err := p.s.addSource(ctx, d.Digest, p.ref); err != nil {
				return nil, err
			}
		}
		if !blob {
			fetched = append(fetched, d)
		}
		if !have || !blob {
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 { // there is nothing to show
		return nil, nil
	}
	for i, d := range im.blobs {
		state := Present
		if slices.Contains(todo, i) {
			state = Begun
		}
		p.report.send(Progress{State: state, Digest: d.Digest})
	}
	return todo, p.s.room(fetched)
}

// turn waits until no other pull unpacks the image with this manifest.
func (s *Store) turn(ctx context.Context, manifest digest.Digest) (release func(), err error) {
	for {
		s.fetchMu.Lock()
		taken := s.turns[manifest]
		if taken == nil {
			mine := make(chan struct{})
			s.turns[manifest] = mine
			s.fetchMu.Unlock()
			return func() {
				s.fetchMu.Lock()
				delete(s.turns, manifest)
				s.fetchMu.Unlock()
				close(mine)
			}, nil
		}
		s.fetchMu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return func() {}, ctx.Err()
		}
	}
}

// layer brings in one layer. No stage: somebody else has unpacked it.
func (p *pull) layer(ctx context.Context, im *Image, i int, turn <-chan struct{}) (*staged, error) {
	l := &pulledLayer{p: p, blob: im.blobs[i], diffs: im.Config.RootFS.DiffIDs[:i+1], turn: turn}
	if blob, err := p.s.haveBlob(ctx, l.blob.Digest); err != nil {
		return nil, err
	} else if blob {
		return l.unpack(ctx, nil)
	}
	damaged := false
	for {
		f, own, err := p.s.join(ctx, p.src, l.blob)
		if err != nil {
			return nil, err
		}
		st, err := l.fetch(ctx, f)
		f.leave()
		switch {
		case err == nil || ctx.Err() != nil:
			return st, err
		case !own && f.failed():
			continue // what another pull's registry has said: this one has its own
		case errors.Is(err, errDigest) && f.file.resumed && !damaged:
			// What an earlier fetch has left may have been damaged by a loss of power.
			damaged = true
			continue
		}
		return nil, err
	}
}

// pulledLayer is one layer that a pull needs.
type pulledLayer struct {
	p        *pull
	blob     ocispec.Descriptor
	diffs    []digest.Digest // its own last, those below before
	turn     <-chan struct{}
	unpacked atomic.Int64 // bytes of the blob
}

// fetch unpacks the layer while its blob comes, and takes the blob into the store.
func (l *pulledLayer) fetch(ctx context.Context, f *fetch) (_ *staged, err error) {
	defer l.p.report.watch(l.look(f))()
	st, err := l.unpack(ctx, f)
	if err != nil && !errors.Is(err, ErrTooLarge) && fault.Is(err, fault.Invalid) {
		// Whose fault it is tells the digest.
		select {
		case <-f.done:
		case <-ctx.Done():
		}
	}
	if f.failed() {
		err = f.err
	}
	if err == nil {
		err = f.wait(ctx)
	}
	if err == nil {
		err = l.p.s.adopt(ctx, f, map[string]string{labelSource + reference.Domain(l.p.ref): reference.Path(l.p.ref)})
	}
	if err != nil && st != nil {
		st.drop()
		st = nil
	}
	return st, noRoom(err)
}

// unpack unpacks the layer from a blob that is being fetched, or with nil from the store.
func (l *pulledLayer) unpack(ctx context.Context, f *fetch) (*staged, error) {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if have, err := l.p.s.haveLayer(ctx, chainID(l.diffs)); err != nil || have {
		return nil, err
	}
	g := &l.p.s.unpacking
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	defer g.leave()
	diff := l.diffs[len(l.diffs)-1]
	if f == nil {
		return l.p.s.unpackBlob(ctx, l.blob, diff)
	}
	r := f.follow(ctx, &l.unpacked)
	r.gate = g
	return l.p.s.unpackStream(ctx, l.blob.Digest, r, diff)
}

// look tells how far the layer is.
func (l *pulledLayer) look(f *fetch) func() (Progress, bool) {
	told := false
	return func() (Progress, bool) {
		at := Progress{Digest: l.blob.Digest, Total: l.blob.Size}
		select {
		case <-f.done:
			if f.err != nil {
				return at, false
			}
			if !told {
				told = true
				return Progress{State: Downloaded, Digest: at.Digest}, true
			}
			at.State, at.Current = Extracting, l.unpacked.Load()
			return at, at.Current < at.Total
		default:
		}
		switch at.Current = f.file.fetched(); {
		case at.Current == at.Total:
			return Progress{State: Verifying, Digest: at.Digest}, true
		case f.began.Load():
			at.State = Downloading
			return at, true
		}
		return Progress{State: Waiting, Digest: at.Digest}, true
	}
}
