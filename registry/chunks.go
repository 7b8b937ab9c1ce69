package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/distribution/reference"

	"hoy/lib/fault"
)

// send opens an upload if there is none, and sends all that is left.
func (s *sending) send(ctx context.Context) error {
	if s.up == nil {
		if done, err := s.start(ctx); done || err != nil {
			return err
		}
	}
	if s.up.whole || s.up.chunk == 0 && s.up.off == 0 && s.d.Size <= s.r.c.small {
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

// left is how much the next chunk has.
func (s *sending) left() int64 {
	n := s.d.Size - s.up.off
	if s.up.chunk > 0 {
		n = min(n, s.up.chunk)
	}
	return n
}

// patch sends one chunk. What is all there is has no range: every registry takes a blob in
// one stream, as docker has always sent it, and not all take chunks.
func (s *sending) patch(ctx context.Context) error {
	n := s.left()
	h := http.Header{"Content-Type": {"application/octet-stream"}}
	if n < s.d.Size {
		h.Set("Content-Range", fmt.Sprintf("%d-%d", s.up.off, s.up.off+n-1))
	}
	res, err := s.body(ctx, request{method: http.MethodPatch, url: s.up.at, size: n, header: h})
	if err != nil {
		return err
	}
	discard(res)
	at, err := s.e.location(res)
	if err != nil {
		return err
	}
	s.up.at = at
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
	if s.up.off == 0 || s.up.off > s.d.Size || s.up.whole {
		s.cancel(ctx) // what it has is unknown, or of no use
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
// 0 is nothing that can be gone on from.
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
