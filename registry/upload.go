package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// upload is one that the registry has opened.
type upload struct {
	at    *url.URL // which every answer replaces
	off   int64    // bytes that the registry has
	least int64    // of a chunk, but the last (OCI-Chunk-Min-Length)
	chunk int64    // at most so much by one request; 0: all there is
	whole bool     // the registry takes a blob only whole
}

// uploads are those that a mount which failed has opened, by their blob.
type uploads struct {
	mu     sync.Mutex
	opened map[digest.Digest]*upload
}

func (u *uploads) keep(d digest.Digest, up *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.opened == nil {
		u.opened = map[digest.Digest]*upload{}
	}
	u.opened[d] = up
}

func (u *uploads) take(d digest.Digest) *upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	up := u.opened[d]
	delete(u.opened, d)
	return up
}

// Upload sends a blob. After a failure it asks the registry how much has arrived and goes
// on from there: it calls open again with that offset. It calls sent with the number of
// bytes that have gone out so far. What fails for good is cancelled.
func (r *Repository) Upload(ctx context.Context, d ocispec.Descriptor, open func(off int64) (io.ReadCloser, error), sent func(n int64)) error {
	e, err := r.pushTo()
	if err != nil {
		return err
	}
	s := &sending{e: e, r: r, d: d, open: open, sent: sent, up: r.uploads.take(d.Digest)}
	if err := s.run(ctx); err != nil {
		s.cancel(context.WithoutCancel(ctx))
		return r.refusal("push", "", err)
	}
	sent(d.Size)
	return nil
}

// sending is one blob on its way.
type sending struct {
	e    *endpoint
	r    *Repository
	d    ocispec.Descriptor
	open func(off int64) (io.ReadCloser, error)
	sent func(n int64)
	up   *upload // nil: none is open

	source error // what the caller's side failed with
}

func (s *sending) run(ctx context.Context) error {
	for failed, marked := 0, int64(0); ; {
		err := s.send(ctx)
		switch {
		case err == nil:
			return nil
		case s.source != nil:
			return s.source
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case s.adapt(err):
			continue
		}
		if !s.mayPass(err) {
			return err
		}
		off := int64(0)
		if s.up != nil {
			off = s.up.off
		}
		if off-marked >= enough {
			failed = 0
		}
		if failed, marked = failed+1, off; failed >= s.r.c.c.Attempts {
			return err
		}
		d := delay(s.r.c.c.Delay, failed)
		var status *statusError
		if errors.As(err, &status) && status.after > 0 {
			if status.after > longestWait {
				return err
			}
			d = max(d, status.after)
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
		if err := s.ask(ctx); err != nil {
			return err
		}
		if s.up == nil { // perhaps it has ended well, and only the answer was lost
			if has, err := s.r.Exists(ctx, s.d); has || err != nil {
				return err
			}
		}
	}
}

// adapt changes how the blob is sent if the registry does not take it as it is, and tells
// whether there is something left to change: a server before it may limit how large a
// request may be, and not all take a blob in parts.
func (s *sending) adapt(err error) bool {
	var status *statusError
	if !errors.As(err, &status) || s.up == nil {
		return false
	}
	switch status.code {
	case http.StatusRequestEntityTooLarge:
		if s.up.whole {
			return false
		}
		next := s.left() / 2 // of what was too much
		if s.up.chunk == 0 {
			next = min(next, 64<<20)
		}
		if next < max(s.up.least, 1<<20) {
			return false
		}
		s.up.chunk = next
		return true
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		if s.up.whole || s.up.chunk > 0 || s.up.off > 0 {
			return false
		}
		s.up.whole = true
		return true
	}
	return false
}

// mayPass tells whether to go on after a failure.
func (s *sending) mayPass(err error) bool {
	var status *statusError
	if !errors.As(err, &status) {
		return mayPass(err)
	}
	switch status.code {
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable, http.StatusUnauthorized:
		// The upload is gone, is not where we thought, or its token has expired
		// while it was sent.
		return s.up != nil
	}
	return again(status.code)
}
