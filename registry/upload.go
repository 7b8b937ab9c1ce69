package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// A blob up to this size is sent by one request with its digest: there would be more
// requests than it is worth to go on with it.
const small = 1 << 20

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
		next := int64(64 << 20)
		if s.up.chunk > 0 {
			next = s.up.chunk / 2
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

// send opens an upload if there is none, and sends all that is left.
func (s *sending) send(ctx context.Context) error {
	if s.up == nil {
		if done, err := s.start(ctx); done || err != nil {
			return err
		}
	}
	if s.up.whole || s.up.chunk == 0 && s.up.off == 0 && s.d.Size <= small {
		return s.put(ctx, s.d.Size)
	}
	for s.up.off < s.d.Size {
		if err := s.patch(ctx); err != nil {
			return err
		}
	}
	return s.put(ctx, 0)
}

// start opens an upload (distribution-spec, "Pushing a blob in chunks"). done: the
// registry says that it has the blob.
func (s *sending) start(ctx context.Context) (done bool, err error) {
	u := s.e.url(reference.Path(s.r.name), "blobs/uploads/")
	res, err := s.e.do(ctx, request{method: http.MethodPost, url: u, scopes: s.r.pushScopes()})
	if err != nil {
		return false, err
	}
	discard(res)
	if res.StatusCode == http.StatusCreated {
		return true, nil
	}
	at, err := s.e.location(res)
	if err != nil {
		return false, err
	}
	s.up = &upload{at: at, least: chunkMinimum(res.Header)}
	return false, nil
}

// patch sends one chunk.
func (s *sending) patch(ctx context.Context) error {
	n := s.d.Size - s.up.off
	if s.up.chunk > 0 {
		n = min(n, s.up.chunk)
	}
	res, err := s.body(ctx, request{
		method: http.MethodPatch, url: s.up.at, size: n,
		header: http.Header{"Content-Type": {"application/octet-stream"}, "Content-Range": {fmt.Sprintf("%d-%d", s.up.off, s.up.off+n-1)}},
	})
	if err != nil {
		return err
	}
	discard(res)
	if s.up.at, err = s.e.location(res); err != nil {
		return err
	}
	off := s.up.off + n
	if got, ok := uploaded(res.Header); ok && got < off { // it took less
		if got <= s.up.off {
			return fault.New(fault.Unavailable, "registry %s does not take more of %s than %d bytes", s.e, s.d.Digest, got)
		}
		off = got
	}
	s.up.off = off
	return nil
}

// put ends the upload, with the whole blob if it has not been sent.
func (s *sending) put(ctx context.Context, n int64) error {
	u := *s.up.at
	q := u.Query()
	q.Set("digest", s.d.Digest.String())
	u.RawQuery = q.Encode()
	res, err := s.body(ctx, request{method: http.MethodPut, url: &u, size: n, header: http.Header{"Content-Type": {"application/octet-stream"}}})
	if err != nil {
		return err
	}
	discard(res)
	return nil
}

// body sends a request with the q.size bytes that follow what the registry has.
func (s *sending) body(ctx context.Context, q request) (*http.Response, error) {
	q.scopes = s.r.pushScopes()
	if q.size == 0 {
		return s.e.do(ctx, q)
	}
	source, err := s.open(s.up.off)
	if err != nil {
		s.source = err
		return nil, err
	}
	o := &outgoing{r: io.LimitReader(source, q.size), left: q.size, at: s.up.off, sent: s.sent}
	defer source.Close()
	q.stream = io.NopCloser(o)
	res, err := s.e.do(ctx, q)
	if failed := o.end(); err != nil && failed != nil {
		s.source = fmt.Errorf("cannot read %s to be pushed: %w", s.d.Digest, failed)
	}
	return res, err
}

// ask learns how much the registry has (distribution-spec, "Resuming an upload"). An
// upload that it does not know any more is begun again.
func (s *sending) ask(ctx context.Context) error {
	if s.up == nil {
		return nil
	}
	res, err := s.e.do(ctx, request{method: http.MethodGet, url: s.up.at, scopes: s.r.pushScopes()})
	if err != nil {
		if fault.Is(err, fault.Unavailable) {
			return err
		}
		s.up = nil
		return nil
	}
	discard(res)
	if at, err := s.e.location(res); err == nil {
		s.up.at = at
	}
	s.up.off, _ = uploaded(res.Header)
	if s.up.whole && s.up.off > 0 || s.up.off > s.d.Size {
		s.up = nil
	}
	return nil
}

// cancel has the registry forget an upload.
func (s *sending) cancel(ctx context.Context) {
	if s.up == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.r.c.silence)
	defer cancel()
	if res, err := s.e.do(ctx, request{method: http.MethodDelete, url: s.up.at, scopes: s.r.pushScopes()}); err == nil {
		discard(res)
	}
}

// uploaded reads how many bytes have arrived of Range, which is 0-LAST, with or without
// "bytes=" before. A registry that has nothing says 0-0, which could be one byte as well:
// that one is sent again.
func uploaded(h http.Header) (n int64, ok bool) {
	from, last, found := strings.Cut(strings.TrimPrefix(h.Get("Range"), "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !found || from != "0" || err != nil || n < 0 || n == 1<<63-1 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// chunkMinimum reads OCI-Chunk-Min-Length.
func chunkMinimum(h http.Header) int64 {
	n, _ := strconv.ParseInt(h.Get("OCI-Chunk-Min-Length"), 10, 64) // 0: none
	return max(n, 0)
}

// outgoing tells how much is read of a body, and keeps what that failed with. The
// transport may go on reading for a while when the answer is there: nothing comes then.
type outgoing struct {
	mu    sync.Mutex // held while it is read: nobody else waits for it but end
	r     io.Reader
	left  int64
	at    int64
	sent  func(int64)
	err   error
	ended bool
}

func (o *outgoing) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return 0, io.ErrClosedPipe
	}
	n, err := o.r.Read(p)
	o.at, o.left = o.at+int64(n), o.left-int64(n)
	if err == io.EOF && o.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		o.err = err
	}
	if n > 0 {
		o.sent(o.at)
	}
	return n, err
}

func (o *outgoing) end() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	return o.err
}
