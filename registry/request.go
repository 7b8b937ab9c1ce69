package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"

	"hoy/lib/fault"
)

// The most that a manifest, index or list of them may have, as with distribution and
// containerd.
const maxManifest = 4 << 20

// request is what an endpoint is asked.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte        // sent again as often as need be
	stream io.ReadCloser // sent once: a refusal is the caller's to get over
	size   int64         // of the stream
	scopes []string
	also   []int // statuses that are no errors besides 2xx
}

// do sends a request, with credentials if they are asked for, and gives the answer if it
// is a success.
func (e *endpoint) do(ctx context.Context, q request) (*http.Response, error) {
	scopes := q.scopes
	if e.auth != nil {
		scopes = e.auth.wanted(scopes)
	}
	for n := 1; ; n++ {
		r, err := e.request(ctx, q)
		if err != nil {
			return nil, err
		}
		var sent string
		var fresh bool
		if e.auth != nil && q.url.Host == e.base.Host { // what leads elsewhere has no right to them
			if sent, fresh, err = e.auth.value(ctx, scopes); err != nil {
				return nil, err
			}
		}
		if sent != "" {
			r.Header.Set("Authorization", sent)
		}
		res, err := e.http.Do(r)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			e.down.Store(true)
			return nil, networkError(e.base.Host, err)
		}
		if res.StatusCode/100 == 2 || slices.Contains(q.also, res.StatusCode) {
			return res, nil
		}
		if e.auth != nil && res.StatusCode == http.StatusUnauthorized && res.Request.URL.Host == e.base.Host && n < 3 {
			wider, again, err := e.auth.answer(res, sent, fresh, scopes)
			if err != nil {
				res.Body.Close()
				return nil, err
			}
			if again && q.stream == nil {
				discard(res)
				if len(wider) > len(scopes) {
					e.auth.widen(q.scopes, wider)
				}
				scopes = wider
				continue
			}
		}
		s := newStatusError(res)
		return nil, fault.As(s.kind(), s)
	}
}

// request makes one attempt's request.
func (e *endpoint) request(ctx context.Context, q request) (*http.Request, error) {
	var body io.Reader
	switch {
	case q.stream != nil:
		body = q.stream
	case q.body != nil:
		body = bytes.NewReader(q.body)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), body)
	if err != nil {
		return nil, err
	}
	if q.stream != nil {
		r.ContentLength = q.size
	}
	if q.url.Host == e.base.Host { // a header of hosts.toml may be a password
		for k, v := range e.header {
			r.Header[k] = v
		}
	}
	for k, v := range q.header {
		r.Header[k] = v
	}
	return r, nil
}

// each asks the endpoints that are able to, in order, until one has what is asked for. Of
// several errors the last counts: it is the registry's own; where that cannot be reached,
// it says what the mirrors had to say too. It ends early when ctx does.
func (r *Repository) each(ctx context.Context, what docker.HostCapabilities, ask func(*endpoint) error) error {
	able := r.able(what)
	if len(able) == 0 {
		return fault.New(fault.Forbidden, "hosts.toml of %s names no host for this", reference.Domain(r.name))
	}
	mirrors := ""
	for n, e := range able {
		err := ask(e)
		if n == len(able)-1 && mirrors != "" && fault.Is(err, fault.Unavailable) {
			return fmt.Errorf("%w (before that: %s)", err, mirrors)
		}
		if err == nil || n == len(able)-1 || ctx.Err() != nil {
			return err
		}
		mirrors = strings.TrimPrefix(mirrors+fmt.Sprintf("; mirror %s: %v", e, err), "; ")
		if e.told.Swap(true) {
			continue // a word for each blob would be too many
		}
		r.c.c.Warn("A mirror does not have what the registry is asked for now", "mirror", e.String(), "repository", r.name.Name(), "error", err)
	}
	return nil
}

// scope is what a token has to allow (Docker's token specification, scope).
func scope(name reference.Named, actions string) string {
	return "repository:" + reference.Path(name) + ":" + actions
}

// readAll reads a body of at most max bytes.
func readAll(r io.Reader, max int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(b)) > max {
		return nil, fault.New(fault.Invalid, "the registry gives more than %d bytes where that is the most there can be", max)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the registry's answer has broken off: %w", err)
	}
	return b, nil
}

// getAll is do with the whole body, which is asked for again when it breaks off.
func (e *endpoint) getAll(ctx context.Context, c *Client, q request) (*http.Response, []byte, error) {
	for n := 1; ; n++ {
		res, err := e.do(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		if res.ContentLength > maxManifest {
			res.Body.Close()
			return nil, nil, fault.New(fault.Invalid, "registry %s gives %d bytes where %d are the most there can be", e, res.ContentLength, maxManifest)
		}
		b, err := readAll(res.Body, maxManifest)
		res.Body.Close()
		if err == nil || n >= c.c.Attempts || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return res, b, err
		}
		if err := sleep(ctx, delay(c.c.Delay, n)); err != nil {
			return nil, nil, err
		}
	}
}

var errNoLocation = errors.New("no Location in its answer")

// location is where an answer leads: on the same host by the same way, or elsewhere, as
// long as that is no step from TLS to none. The host that we speak to by TLS may believe
// that we do not, behind a proxy.
func (e *endpoint) location(res *http.Response) (*url.URL, error) {
	u, err := res.Location()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "registry %s: %w", e, errNoLocation)
	}
	asked := res.Request.URL
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil:
		return nil, fault.New(fault.Unavailable, "registry %s leads to %s, which is refused", e, u.Redacted())
	case u.Host == asked.Host:
		u.Scheme = asked.Scheme
	case u.Scheme == "http" && !e.plain:
		return nil, fault.New(fault.Unavailable, "registry %s leads to %s without TLS, which is refused", e, fmt.Sprintf("%s://%s", u.Scheme, u.Host))
	}
	return u, nil
}
