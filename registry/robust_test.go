package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

// quiet is the log of a server whose clients are meant to fail.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// before makes a wrapper that answers what it wants to itself.
func before(answer func(w http.ResponseWriter, q *http.Request) (done bool)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if !answer(w, q) {
				next.ServeHTTP(w, q)
			}
		})
	}
}

// What a registry refuses for now is asked again, as late as it wants, unless that is too
// late.
func TestRetries(t *testing.T) {
	var left atomic.Int32
	var status int
	var after string
	reg := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method != http.MethodGet || left.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Retry-After", after)
		w.WriteHeader(status)
		fmt.Fprint(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"that is enough"}]}`)
		return true
	})})
	r := open(t, reg, quick(), "x", Auth{})
	d := push(t, r, "v1", []byte("{}"))
	for _, tc := range []struct {
		refusals int32
		status   int
		after    string
		says     string // "": it succeeds
	}{
		{4, 429, "", ""},
		{2, 429, "0", ""},
		{1, 503, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), ""},
		{4, 500, "soon", ""},
		{4, 408, "", ""},
		{5, 429, "", "limits how much may be asked of it (429): that is enough"},
		{1, 429, "3600", "that is enough; it asks to come back in 1h0m0s"},
		{5, 502, "", "502 Bad Gateway: that is enough"},
		{1, 501, "", "501 Not Implemented"},
	} {
		status, after = tc.status, tc.after
		left.Store(tc.refusals)
		_, err := fetch(r, d, 0, -1)
		if tc.says == "" && err != nil || tc.says != "" && (!fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%d times %d, Retry-After %q: %v", tc.refusals, tc.status, tc.after, err)
		}
		if n := left.Load(); n > 0 {
			t.Errorf("%d times %d, Retry-After %q: gave up %d attempts early", tc.refusals, tc.status, tc.after, n)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0": 0, "Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:00 GMT": 0,
		"": -1, "-7": -1, "1.5": -1, "99999999999999999999": -1, "later": -1,
	} {
		got, ok := retryAfter(http.Header{"Retry-After": {v}}, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v", v, got, ok)
		}
	}
}

// A connection that breaks is no end: what is missing is asked for, and only that.
func TestFetchGoesOn(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		const size = 3 << 20
		blob := random(size)
		var served, breaks, after atomic.Int64
		after.Store(size / 5)
		reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, "/blobs/sha256:") {
					next.ServeHTTP(w, q)
					return
				}
				if !ranges {
					q.Header.Del("Range")
				}
				if breaks.Add(-1) < 0 {
					next.ServeHTTP(&counting{w, &served, 1 << 40}, q)
					return
				}
				defer func() {
					if v := recover(); v != nil {
						panic(http.ErrAbortHandler)
					}
				}()
				next.ServeHTTP(&counting{w, &served, served.Load() + after.Load()}, q)
			})
		}})
		r := open(t, reg, quick(), "x", Auth{})
		push(t, r, "v1", []byte("{}"), blob)
		d, end := describe(ocispec.MediaTypeImageLayer, blob), int64(size-100)
		if !ranges {
			if _, err := fetch(r, d, 100, end-100); !fault.Is(err, fault.NotImplemented) {
				t.Errorf("a part of what is given whole only: %v", err)
			}
			end = size
		}
		served.Store(0)
		breaks.Store(3)
		got, err := fetch(r, d, 100, end-100)
		if err != nil || !bytes.Equal(got, blob[100:end]) {
			t.Fatalf("ranges=%v: %d bytes, %v", ranges, len(got), err)
		}
		if n := served.Load(); ranges && n > size+1<<20 {
			t.Errorf("%d bytes were sent for %d", n, size)
		}
		breaks.Store(100)
		after.Store(10)
		if _, err := fetch(r, d, 0, -1); !fault.Is(err, fault.Unavailable) {
			t.Errorf("breaking on and on: %v", err)
		}
	}
}

// counting breaks the connection off when so many bytes have been sent.
type counting struct {
	http.ResponseWriter
	sent *atomic.Int64
	max  int64
}

func (c *counting) Write(p []byte) (int, error) {
	if c.sent.Load() >= c.max {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	p = p[:min(int64(len(p)), c.max-c.sent.Load())]
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// A registry that falls silent in the middle has broken off.
func TestSilence(t *testing.T) {
	blob := random(2 << 20)
	var quiet atomic.Bool
	quiet.Store(true)
	release := make(chan struct{})
	reg := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, "/blobs/sha256:") || !quiet.Swap(false) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		w.Write(blob[:100])
		w.(http.Flusher).Flush()
		select {
		case <-q.Context().Done():
		case <-release:
		}
		panic(http.ErrAbortHandler)
	})})
	defer close(release)
	r := open(t, reg, quick(), "x", Auth{})
	push(t, r, "v1", []byte("{}"), blob)
	r.c.silence = 200 * time.Millisecond
	for _, e := range r.endpoints {
		e.http.Transport.(*persistent).silence = r.c.silence
	}
	if got, err := fetch(r, describe(ocispec.MediaTypeImageLayer, blob), 0, -1); err != nil || !bytes.Equal(got, blob) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Credentials go to the registry, not to where it sends us for a blob: neither to another
// host nor to another port.
func TestRedirect(t *testing.T) {
	blob := random(1000)
	var seen atomic.Int32
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		seen.Add(1)
		for _, h := range []string{"Authorization", "Cookie", "Referer", "X-Secret"} {
			if v := q.Header.Get(h); v != "" {
				t.Errorf("%s went along: %s", h, v)
			}
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(blob))
	}))
	defer store.Close()
	to := ""
	s := &tokenServer{}
	redirecting := before(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, "/blobs/sha256:") {
			return false
		}
		w.Header().Set("Set-Cookie", "a=b")
		http.Redirect(w, q, to, http.StatusTemporaryRedirect)
		return true
	})
	reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler { return s.wrap(redirecting(next)) }})
	r := open(t, reg, quick(), "private", Auth{Username: "writer", Password: "secret"})
	push(t, r, "v1", []byte("{}"), blob)
	d := describe(ocispec.MediaTypeImageLayer, blob)

	to = store.URL + "/blob?signature=x"
	if got, err := fetch(r, d, 10, 100); err != nil || !bytes.Equal(got, blob[10:110]) || seen.Load() == 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for target, says := range map[string]string{
		"file:///etc/passwd":                     "redirect refused",
		"/v2/private/blobs/" + d.Digest.String(): "leads on and on",
	} {
		to = target
		if _, err := fetch(r, d, 0, -1); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), says) {
			t.Errorf("to %s: %v", target, err)
		}
	}
	store.Close()
	to = store.URL + "/blob?signature=verysecret"
	if _, err := fetch(r, d, 0, -1); err == nil || strings.Contains(err.Error(), "verysecret") || !strings.Contains(err.Error(), "leads to "+strings.TrimPrefix(store.URL, "http://")+", which cannot be reached") {
		t.Errorf("to what is not there: %v", err)
	}
}

func TestRedirectRules(t *testing.T) {
	for _, tc := range []struct {
		from, to  string
		plain     bool
		ok, sends bool
	}{
		{"https://example.com/a", "https://example.com/b", false, true, true},
		{"https://example.com/a", "https://cdn.example.com/b", false, true, false},
		{"https://example.com/a", "https://example.com:444/b", false, true, false},
		{"https://example.com/a", "http://example.com/b", false, false, false},
		{"https://example.com/a", "http://example.com/b", true, true, false},
		{"http://example.com/a", "https://example.com/b", true, true, true},
		{"http://example.com/a", "ftp://example.com/b", true, false, false},
	} {
		q, _ := http.NewRequest("GET", tc.from, nil)
		to, _ := http.NewRequest("GET", tc.to, nil)
		to.Header.Set("Authorization", "Bearer x")
		to.Header.Set("X-Secret", "of hosts.toml")
		to.Header.Set("Range", "bytes=1-2")
		err := redirect(to, []*http.Request{q}, tc.plain)
		if (err == nil) != tc.ok || tc.ok && (to.Header.Get("Authorization") != "") != tc.sends {
			t.Errorf("%s to %s: %v, %q", tc.from, tc.to, err, to.Header)
		}
		if err == nil && ((to.Header.Get("X-Secret") != "") != tc.sends || to.Header.Get("Range") == "") {
			t.Errorf("%s to %s: %q", tc.from, tc.to, to.Header)
		}
		if err != nil && !errors.Is(err, errRedirect) {
			t.Errorf("%v is tried again", err)
		}
	}
}

// Registries differ in what HEAD gives; some give nonsense.
func TestResolveOddities(t *testing.T) {
	raw := manifestOf([]byte("{}"))
	d := describe(ocispec.MediaTypeImageManifest, raw)
	schema1 := []byte(`{"schemaVersion": 1, "name": "x"}`)
	untyped := []byte(`{"schemaVersion": 2, "manifests": []}`)
	serve := func(mediaType string, body []byte, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			if w.Header().Get("Refuse") == q.Method {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body)
		}
	}
	var answer http.HandlerFunc
	reg := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		answer(w, q)
		return true
	})})
	r := open(t, reg, quick(), "x", Auth{})
	other := describe("", []byte("other")).Digest.String()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		tag    string
		kind   fault.Kind
		says   string // "": it is d
	}{
		"HEAD refused":         {serve(d.MediaType, raw, "Refuse", "HEAD"), "v1", 0, ""},
		"no digest":            {serve(d.MediaType, raw), "v1", 0, ""},
		"type with parameter":  {serve(d.MediaType+"; charset=utf-8", raw), "v1", 0, ""},
		"no useful type":       {serve("text/plain", raw), "v1", 0, ""},
		"by digest":            {serve(d.MediaType, raw), d.Digest.String(), 0, ""},
		"another digest":       {serve(d.MediaType, raw, "Docker-Content-Digest", other), d.Digest.String(), fault.Unavailable, "answers for"},
		"another content":      {serve(d.MediaType, raw, "Refuse", "HEAD"), other, fault.Unavailable, "not the one it names"},
		"wrong digest":         {serve("text/plain", raw, "Docker-Content-Digest", other), "v1", fault.Unavailable, "not the one it names"},
		"schema 1":             {serve("application/vnd.docker.distribution.manifest.v1+prettyjws", schema1), "v1", fault.Invalid, "schema 1"},
		"schema 1 in disguise": {serve("application/json", schema1), "v1", fault.Invalid, "schema 1"},
		"no manifest":          {serve("text/html", []byte("<html>")), "v1", fault.Invalid, "neither an image nor an index"},
		"too large":            {serve(d.MediaType, make([]byte, maxManifest+1)), "v1", fault.Invalid, "the most there can be"},
		"too large, unsaid": {func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", d.MediaType)
			if q.Method == http.MethodGet {
				w.(http.Flusher).Flush()
				w.Write(make([]byte, maxManifest+1))
			}
		}, "v1", fault.Invalid, "the most there can be"},
	} {
		answer = tc.answer
		got, err := r.Resolve(t.Context(), tc.tag)
		if tc.says == "" && (err != nil || got.Digest != d.Digest || got.Size != d.Size || got.MediaType != d.MediaType) ||
			tc.says != "" && (!fault.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	answer = serve("application/json", untyped)
	if got, err := r.Resolve(t.Context(), "v1"); err != nil || got.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("an index without type: %+v, %v", got, err)
	}
}

// A blob that has another size than its manifest says is refused before it is read.
func TestFetchRefuses(t *testing.T) {
	blob := random(100)
	reg := registrytest.Start(t, registrytest.Options{})
	r := open(t, reg, quick(), "x", Auth{})
	push(t, r, "v1", []byte("{}"), blob)
	d := describe(ocispec.MediaTypeImageLayer, blob)
	d.Size++
	if _, err := fetch(r, d, 0, -1); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "has 100 bytes") {
		t.Error(err)
	}
	if _, err := fetch(r, d, 50, -1); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "has 100 bytes") {
		t.Error(err)
	}
	d.Size--
	for _, off := range []int64{-1, 101} {
		if _, err := r.Fetch(t.Context(), d, off, -1); !fault.Is(err, fault.Invalid) {
			t.Errorf("from %d: %v", off, err)
		}
	}
	large := describe(ocispec.MediaTypeImageManifest, nil)
	large.Size = maxManifest + 1
	for _, bad := range []ocispec.Descriptor{{Digest: "sha256:x", Size: 1}, {Size: 1}, large} {
		if _, err := r.Fetch(t.Context(), bad, 0, -1); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	missing := describe(ocispec.MediaTypeImageLayer, []byte("missing"))
	if _, err := r.Fetch(t.Context(), missing, 0, -1); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	for _, u := range []string{"http://example.com/layer", "file:///etc/passwd", "https://u:p@example.com/", "https:///x", "::"} {
		missing.MediaType, missing.URLs = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []string{u}
		if _, err := r.Fetch(t.Context(), missing, 0, -1); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "only https is") {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// A layer's address in its manifest is asked as by a stranger (CVE-2020-15157).
func TestForeignLayer(t *testing.T) {
	blob := random(100)
	var asked []string
	elsewhere := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked = append(asked, q.Method+" "+q.URL.Path+" "+q.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="x",scope="repository:x:pull"`, q.Host))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	elsewhere.Config.ErrorLog = quiet()
	elsewhere.StartTLS()
	defer elsewhere.Close()
	s := &tokenServer{}
	reg := registrytest.Start(t, registrytest.Options{Wrap: s.wrap})
	r := open(t, reg, quick(), "private", Auth{Username: "writer", Password: "secret"})
	d := describe("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", blob)
	d.URLs = []string{elsewhere.URL + "/layer"}
	if _, err := fetch(r, d, 0, -1); err == nil {
		t.Error("a certificate of nobody is trusted")
	}
	f := &fetching{ctx: t.Context(), r: r, d: d, end: d.Size}
	e := &endpoint{base: r.endpoints[0].base, http: elsewhere.Client()}
	u, _ := e.base.Parse(elsewhere.URL + "/layer")
	e.base = u
	if _, err := f.part(e, request{url: u}); !fault.Is(err, fault.Unauthorized) {
		t.Error(err)
	}
	if len(asked) != 1 || asked[0] != "GET /layer " {
		t.Errorf("the stranger was asked %q", asked)
	}
}

// A body that is closed early ends its request.
func TestFetchClosed(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	r := open(t, reg, quick(), "x", Auth{})
	blob := random(2 << 20)
	push(t, r, "v1", []byte("{}"), blob)
	body, err := r.Fetch(t.Context(), describe(ocispec.MediaTypeImageLayer, blob), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	io.CopyN(io.Discard, body, 10)
	body.Close()
	if _, err := io.Copy(io.Discard, body); err == nil {
		t.Error("it can still be read")
	}
}
