package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

// has tells whether a registry has a blob, byte for byte.
func has(t *testing.T, r *Repository, b []byte) bool {
	t.Helper()
	got, err := fetch(r, describe(ocispec.MediaTypeImageLayer, b), 0, -1)
	return err == nil && bytes.Equal(got, b)
}

// An upload whose connection breaks goes on where the registry says it is.
func TestUploadGoesOn(t *testing.T) {
	blob := random(8 << 20)
	var breaks atomic.Int32
	var taken, after atomic.Int64
	after.Store(3 << 20)
	reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPatch && breaks.Add(-1) >= 0 {
				q.Body = &registrytest.Short{ReadCloser: q.Body, N: int(after.Load())}
				defer panic(http.ErrAbortHandler)
			}
			if q.Method == http.MethodPatch {
				q.Body = &metered{q.Body, &taken}
			}
			next.ServeHTTP(w, q)
		})
	}})
	r := open(t, reg, quick(), "x", Auth{})
	breaks.Store(2)
	if err := send(t.Context(), r, blob); err != nil {
		t.Fatal(err)
	}
	if !has(t, r, blob) {
		t.Error("the registry does not have it")
	}
	if n := taken.Load(); n != int64(len(blob)) {
		t.Errorf("%d bytes arrived of %d", n, len(blob))
	}
	breaks.Store(100)
	after.Store(10)
	if err := send(t.Context(), r, random(1<<20+1)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("breaking on and on: %v", err)
	}
}

type metered struct {
	io.ReadCloser
	n *atomic.Int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.n.Add(int64(n))
	return n, err
}

// Registries, and what stands before them, take blobs in different ways.
func TestUploadAdapts(t *testing.T) {
	small, large := random(1000), random(3<<20)
	for name, tc := range map[string]struct {
		wrap func(http.Handler) http.Handler
		blob []byte
	}{
		"no more than 2 MB at once": {before(func(w http.ResponseWriter, q *http.Request) bool {
			if q.ContentLength > 2<<20 {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
			return q.ContentLength > 2<<20
		}), large},
		"only whole": {before(func(w http.ResponseWriter, q *http.Request) bool {
			if q.Method == http.MethodPatch {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return q.Method == http.MethodPatch
		}), large},
		"an upload that is forgotten": {func(next http.Handler) http.Handler {
			var times atomic.Int32
			return before(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Method != http.MethodPatch || times.Add(1) > 1 {
					return false
				}
				d, _ := http.NewRequestWithContext(q.Context(), http.MethodDelete, q.URL.String(), nil)
				next.ServeHTTP(registrytest.Nobody{}, d)
				w.WriteHeader(http.StatusNotFound)
				return true
			})(next)
		}, large},
		"an end whose answer is lost":      {losing(http.MethodPut), small},
		"a beginning whose answer is lost": {losing(http.MethodPost), large},
		"a host that believes it has no TLS": {func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				q.Header.Set("X-Forwarded-Proto", "http")
				next.ServeHTTP(w, q)
			})
		}, large},
	} {
		reg := registrytest.Start(t, registrytest.Options{Wrap: tc.wrap, TLS: strings.Contains(name, "TLS")})
		c := quick()
		if reg.CA != "" {
			c.CertsDirs = []string{certs(t, reg)}
		}
		r := open(t, reg, c, "x", Auth{})
		if err := send(t.Context(), r, tc.blob); err != nil || !has(t, r, tc.blob) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// losing does what the first request of a method asks, but loses the answer.
func losing(method string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		var times atomic.Int32
		return before(func(w http.ResponseWriter, q *http.Request) bool {
			if q.Method != method || times.Add(1) > 1 {
				return false
			}
			next.ServeHTTP(registrytest.Nobody{}, q)
			panic(http.ErrAbortHandler)
		})(next)
	}
}

// What fails for good says so at once, and leaves no upload open.
func TestUploadFails(t *testing.T) {
	var opened, cancelled atomic.Int32
	reg := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		switch q.Method {
		case http.MethodPost:
			opened.Add(1)
		case http.MethodDelete:
			cancelled.Add(1)
		}
		return false
	})})
	r := open(t, reg, quick(), "x", Auth{})
	blob := random(2 << 20)
	wrong := describe(ocispec.MediaTypeImageLayer, blob)
	wrong.Digest = digest.FromString("other")
	reader := func(b []byte) func(int64) (io.ReadCloser, error) {
		return func(off int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b[off:])), nil }
	}
	broken := errors.New("disk on fire")
	ctx, cancel := context.WithCancel(t.Context())
	for name, tc := range map[string]struct {
		ctx  context.Context
		d    ocispec.Descriptor
		open func(int64) (io.ReadCloser, error)
		is   func(error) bool
	}{
		"another content": {t.Context(), wrong, reader(blob), func(err error) bool {
			return fault.Is(err, fault.Invalid) && strings.Contains(err.Error(), "digest")
		}},
		"too short":        {t.Context(), describe("", blob), reader(blob[:100]), func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		"cannot be opened": {t.Context(), describe("", blob), func(int64) (io.ReadCloser, error) { return nil, broken }, func(err error) bool { return errors.Is(err, broken) }},
		"cannot be read": {t.Context(), describe("", blob), func(int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(blob[:1<<20]), failing{broken})), nil
		}, func(err error) bool { return errors.Is(err, broken) }},
		"given up": {ctx, describe("", blob), func(int64) (io.ReadCloser, error) {
			cancel()
			return io.NopCloser(bytes.NewReader(blob)), nil
		}, func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		opened.Store(0)
		cancelled.Store(0)
		if err := r.Upload(tc.ctx, tc.d, tc.open, func(int64) {}); err == nil || !tc.is(err) {
			t.Errorf("%s: %v", name, err)
		}
		if opened.Load() != 1 || cancelled.Load() != 1 {
			t.Errorf("%s: %d uploads opened, %d cancelled", name, opened.Load(), cancelled.Load())
		}
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// An upload that is to go on at another host does, without the credentials; where that is
// no place for it, it does not.
func TestUploadElsewhere(t *testing.T) {
	blob := random(100)
	s := &tokenServer{}
	second := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		if v := q.Header.Get("Authorization"); v != "" {
			t.Errorf("it was given %s", v)
		}
		return false
	})})
	location := ""
	reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return s.wrap(before(func(w http.ResponseWriter, q *http.Request) bool {
			if q.Method != http.MethodPost {
				return false
			}
			if location == "" {
				res, err := http.Post(second.URL+"/v2/private/blobs/uploads/", "", nil)
				if err != nil {
					t.Error(err)
					return false
				}
				res.Body.Close()
				w.Header().Set("Location", res.Header.Get("Location"))
			} else {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(http.StatusAccepted)
			return true
		})(next))
	}})
	r := open(t, reg, quick(), "private", Auth{Username: "writer", Password: "secret"})
	if err := send(t.Context(), r, blob); err != nil || !has(t, open(t, second, quick(), "private", Auth{}), blob) {
		t.Error(err)
	}
	for _, location = range []string{"file:///tmp/x", "ftp://example.com/x", "http://u:p@example.com/", "http://"} {
		if err := send(t.Context(), r, blob); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func TestLocation(t *testing.T) {
	for _, tc := range []struct {
		asked, location string
		plain           bool
		want            string // "": refused
	}{
		{"https://example.com/v2/x/blobs/uploads/", "/v2/x/blobs/uploads/1?a=b", false, "https://example.com/v2/x/blobs/uploads/1?a=b"},
		{"https://example.com/v2/x/blobs/uploads/", "http://example.com/1", false, "https://example.com/1"},
		{"https://example.com/v2/x/blobs/uploads/", "https://example.org/1", false, "https://example.org/1"},
		{"https://example.com/v2/x/blobs/uploads/", "http://example.org/1", false, ""},
		{"https://example.com/v2/x/blobs/uploads/", "http://example.org/1", true, "http://example.org/1"},
		{"https://example.com/v2/x/blobs/uploads/", "//example.org/1", false, "https://example.org/1"},
		{"https://example.com/v2/x/blobs/uploads/", "", false, ""},
		{"https://example.com/v2/x/blobs/uploads/", "javascript:x", false, ""},
	} {
		q, _ := http.NewRequest("POST", tc.asked, nil)
		e := &endpoint{base: q.URL, plain: tc.plain}
		res := &http.Response{Request: q, Header: http.Header{}}
		if tc.location != "" {
			res.Header.Set("Location", tc.location)
		}
		u, err := e.location(res)
		if got := fmt.Sprint(u); tc.want == "" && err == nil || tc.want != "" && (err != nil || got != tc.want) {
			t.Errorf("%s from %s: %s, %v", tc.location, tc.asked, got, err)
		}
	}
}

func TestUploaded(t *testing.T) {
	for v, want := range map[string]int64{"0-0": 0, "0-99": 100, "bytes=0-99": 100, "": -1, "5-9": -1, "0-": -1, "0--5": -1, "0-9223372036854775807": -1, "x": -1} {
		if n, ok := uploaded(http.Header{"Range": {v}}); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d, %v", v, n, ok)
		}
	}
}

// Who asks too often for chunks larger than it takes, gets them smaller, but not below what
// the registry wants at least.
func TestAdapt(t *testing.T) {
	tooLarge := &statusError{code: http.StatusRequestEntityTooLarge}
	s := &sending{d: ocispec.Descriptor{Size: 200 << 20}, up: &upload{least: 20 << 20}}
	var sizes []int64
	for s.adapt(tooLarge) {
		sizes = append(sizes, s.up.chunk)
	}
	if fmt.Sprint(sizes) != fmt.Sprint([]int64{64 << 20, 32 << 20}) {
		t.Error(sizes)
	}
	if s.adapt(&statusError{code: http.StatusMethodNotAllowed}) || s.adapt(errors.New("x")) || (&sending{}).adapt(tooLarge) {
		t.Error("something was adapted to")
	}
}
