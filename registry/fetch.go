package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// Fetch opens the n bytes of d's content from offset off; n < 0: to the end. Where the
// connection breaks, or a mirror ends, it goes on from there by itself; an error is the
// last word. It gives exactly the bytes asked for, or an error: for a part from within
// NotImplemented, where the registry knows no ranges. Their digest is the caller's to
// check.
func (r *Repository) Fetch(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fault.New(fault.Invalid, "cannot fetch %q: %w", d.Digest, err)
	}
	if off < 0 || off > d.Size {
		return nil, fault.New(fault.Invalid, "cannot fetch %s from offset %d: it has %d bytes", d.Digest, off, d.Size)
	}
	if known(d.MediaType) && d.Size > maxManifest {
		return nil, fault.New(fault.Invalid, "manifest %s has %d bytes; %d are the most there can be", d.Digest, d.Size, maxManifest)
	}
	if n < 0 || n > d.Size-off {
		n = d.Size - off
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &fetching{ctx: ctx, cancel: cancel, r: r, d: d, off: off, end: off + n, marked: off, within: off > 0 && off+n < d.Size}
	if n == 0 {
		return f, nil
	}
	if err := f.open(); err != nil {
		cancel()
		return nil, r.refusal("pull", reference.FamiliarName(r.name)+"@"+d.Digest.String(), err)
	}
	return f, nil
}

// fetching is a part of a blob that goes on after the connection breaks.
type fetching struct {
	ctx    context.Context
	cancel context.CancelFunc
	r      *Repository
	d      ocispec.Descriptor
	off    int64 // of the next byte
	end    int64
	within bool          // neither beginning nor end
	body   io.ReadCloser // nil: none is open
	skip   int64         // bytes of it that are there already
	failed int           // times since it last got on
	marked int64         // offset at the last failure
}

// enough is how far a fetch has to get for failures before not to count: otherwise one
// byte at a time would do.
const enough = 1 << 20

func (f *fetching) Read(p []byte) (int, error) {
	for {
		if f.off == f.end {
			return 0, io.EOF
		}
		n, err := 0, error(nil)
		if f.body == nil {
			err = f.open()
		}
		if err == nil && f.skip > 0 {
			_, err = io.CopyN(io.Discard, f.body, f.skip)
			f.skip = 0
		}
		if err == nil {
			n, err = f.body.Read(p[:min(int64(len(p)), f.end-f.off)])
			f.off += int64(n)
		}
		switch {
		case n > 0 || err == nil:
			return n, nil // an error comes again with the next call
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
		if err := f.again(err); err != nil {
			return 0, err
		}
	}
}

// again decides after a failure whether to go on, and waits for it.
func (f *fetching) again(err error) error {
	if f.body != nil {
		f.body.Close()
		f.body = nil
	} else if f.ctx.Err() == nil {
		return f.r.refusal("pull", reference.FamiliarName(f.r.name)+"@"+f.d.Digest.String(), err) // open has its own attempts
	}
	if f.off-f.marked >= enough {
		f.failed = 0
	}
	f.failed, f.marked = f.failed+1, f.off
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	if f.failed >= f.r.c.c.Attempts {
		return fault.New(fault.Unavailable, "cannot fetch %s: the connection broke %d times, the last time after %d of %d bytes: %w", f.d.Digest, f.failed, f.off, f.d.Size, err)
	}
	return sleep(f.ctx, delay(f.r.c.c.Delay, f.failed))
}

func (f *fetching) Close() error {
	f.cancel()
	if f.body != nil {
		return f.body.Close()
	}
	return nil
}

// open asks for what is not there yet: mirrors, the registry, and for a layer that is not
// kept in registries where its manifest says.
func (f *fetching) open() error {
	err := f.r.each(f.ctx, docker.HostCapabilityPull, func(e *endpoint) (err error) {
		kind := "blobs"
		if known(f.d.MediaType) {
			kind = "manifests"
		}
		q := request{url: e.url(reference.Path(f.r.name), "%s/%s", kind, f.d.Digest), scopes: []string{scope(f.r.name, "pull")}}
		f.body, err = f.part(e, q)
		return err
	})
	if fault.Is(err, fault.NotFound) && foreign(f.d.MediaType) {
		for _, u := range f.d.URLs {
			if err = f.elsewhere(u); err == nil {
				break
			}
		}
	}
	return err
}

// part asks an endpoint for the rest. Ranges may be refused, or ignored: the bytes before
// are skipped then.
func (f *fetching) part(e *endpoint, q request) (io.ReadCloser, error) {
	q.method, q.header = http.MethodGet, http.Header{"Accept": {f.d.MediaType + ", */*"}, "Accept-Encoding": {"identity"}}
	if f.off > 0 || f.end < f.d.Size {
		q.header.Set("Range", fmt.Sprintf("bytes=%d-%d", f.off, f.end-1))
		q.also = []int{http.StatusRequestedRangeNotSatisfiable}
	}
	res, err := e.do(f.ctx, q)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		discard(res)
		q.header.Del("Range")
		q.also = nil
		if res, err = e.do(f.ctx, q); err != nil {
			return nil, err
		}
	}
	from, size := int64(0), res.ContentLength
	if res.StatusCode == http.StatusPartialContent {
		if from, size, err = contentRange(res.Header.Get("Content-Range")); err != nil || from > f.off {
			res.Body.Close()
			return nil, fault.New(fault.Unavailable, "registry %s gives the part %q of %s, asked for the one from %d", e, res.Header.Get("Content-Range"), f.d.Digest, f.off)
		}
	}
	if size >= 0 && size != f.d.Size {
		res.Body.Close()
		return nil, fault.New(fault.Unavailable, "registry %s has %d bytes for %s, which has %d", e, size, f.d.Digest, f.d.Size)
	}
	if f.within && from < f.off {
		// Whoever wants a blob in parts would fetch all before each of them.
		res.Body.Close()
		return nil, fault.New(fault.NotImplemented, "registry %s gives whole blobs only", e)
	}
	f.skip = f.off - from
	return res.Body, nil
}

// contentRange reads where a part begins and how large the whole is, -1 if that is not
// said (RFC 9110, 14.4).
func contentRange(s string) (from, size int64, err error) {
	var to int64
	if _, err = fmt.Sscanf(s, "bytes %d-%d/", &from, &to); err != nil || from < 0 {
		return 0, 0, fmt.Errorf("no range: %q", s)
	}
	_, total, _ := strings.Cut(s, "/")
	if total == "*" {
		return from, -1, nil
	}
	_, err = fmt.Sscanf(total, "%d", &size)
	return from, size, err
}

// foreign tells whether a layer may be elsewhere than in a registry.
func foreign(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.foreign.") ||
		strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.")
}

// elsewhere asks an address that the manifest names. Who writes manifests must not learn
// credentials by that (CVE-2020-15157), nor reach what only this machine does: it is
// asked by TLS, as a stranger, and has nobody's certificates.
func (f *fetching) elsewhere(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fault.New(fault.Invalid, "layer %s is to be fetched from %q, which is refused: only https is", f.d.Digest, address)
	}
	client, err := f.r.c.httpClient(host{base: u}, f.r.c.c.Attempts)
	if err != nil {
		return err
	}
	e := &endpoint{base: u, http: client, header: http.Header{"User-Agent": {f.r.c.c.UserAgent}}}
	f.body, err = f.part(e, request{url: u})
	return err
}
