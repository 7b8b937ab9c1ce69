package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image"
	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

var (
	_ image.Source = (*Repository)(nil)
	_ image.Target = (*Repository)(nil)
)

// quick is a configuration whose attempts follow each other at once.
func quick() Config { return Config{Delay: time.Microsecond, UserAgent: "test"} }

// open gives a repository of a registry.
func open(t *testing.T, r *registrytest.Registry, c Config, name string, a Auth) *Repository {
	t.Helper()
	cl, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	named, err := reference.ParseNormalizedNamed(r.Host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := cl.Repository(t.Context(), named, a)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// random gives n bytes that are the same every time.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// push stores blobs and a manifest of them.
func push(t *testing.T, r *Repository, tag string, blobs ...[]byte) ocispec.Descriptor {
	t.Helper()
	for _, b := range blobs {
		if err := send(t.Context(), r, b); err != nil {
			t.Fatal(err)
		}
	}
	raw := manifestOf(blobs...)
	d := describe(ocispec.MediaTypeImageManifest, raw)
	if err := r.PutManifest(t.Context(), d, raw, tag); err != nil {
		t.Fatal(err)
	}
	return d
}

// send uploads a blob, checking what progress it tells.
func send(ctx context.Context, r *Repository, b []byte) error {
	last := int64(-1)
	err := r.Upload(ctx, describe(ocispec.MediaTypeImageLayer, b), func(off int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[off:])), nil
	}, func(n int64) { last = n })
	if err == nil && last != int64(len(b)) {
		return fmt.Errorf("told %d bytes of %d", last, len(b))
	}
	return err
}

// manifestOf is a manifest whose configuration is the first blob.
func manifestOf(blobs ...[]byte) []byte {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, blobs[0]), Layers: []ocispec.Descriptor{}}
	m.SchemaVersion = 2
	for _, b := range blobs[1:] {
		m.Layers = append(m.Layers, describe(ocispec.MediaTypeImageLayer, b))
	}
	raw, _ := json.Marshal(m) // a struct of texts and numbers
	return raw
}

// fetch reads a part of a blob.
func fetch(r *Repository, d ocispec.Descriptor, off, n int64) ([]byte, error) {
	body, err := r.Fetch(context.Background(), d, off, n)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// What was pushed can be pulled, by plain HTTP and by TLS whose authority is known from
// certs.d, or is not asked for.
func TestPushAndPull(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", tls), func(t *testing.T) {
			reg := registrytest.Start(t, registrytest.Options{TLS: tls})
			r := open(t, reg, quick(), "a/b", Auth{})
			config, small, large := []byte("{}"), random(1000), random(3<<20)
			d := push(t, r, "v1", config, small, large)

			for _, tag := range []string{"v1", d.Digest.String()} {
				if got, err := r.Resolve(t.Context(), tag); err != nil || got.Digest != d.Digest || got.Size != d.Size || got.MediaType != d.MediaType {
					t.Errorf("Resolve(%s) = %+v, %v; want %+v", tag, got, err, d)
				}
			}
			if got, err := fetch(r, d, 0, -1); err != nil || digest.FromBytes(got) != d.Digest {
				t.Errorf("manifest: %v", err)
			}
			l := describe(ocispec.MediaTypeImageLayer, large)
			for _, part := range [][2]int64{{0, -1}, {0, 10}, {1 << 20, 1 << 20}, {l.Size - 5, -1}, {l.Size - 5, 100}, {l.Size, -1}, {7, 0}} {
				end := l.Size
				if part[1] >= 0 {
					end = min(end, part[0]+part[1])
				}
				if got, err := fetch(r, l, part[0], part[1]); err != nil || !bytes.Equal(got, large[part[0]:end]) {
					t.Errorf("%d bytes from %d: got %d, %v", part[1], part[0], len(got), err)
				}
			}
			for _, n := range []string{"z", "v2"} {
				if err := r.PutManifest(t.Context(), d, manifestOf(config, small, large), n); err != nil {
					t.Error(err)
				}
			}
			if tags, err := r.Tags(t.Context()); err != nil || !slices.Equal(tags, []string{"v1", "v2", "z"}) {
				t.Errorf("tags %q, %v", tags, err)
			}
			if has, err := r.Exists(t.Context(), l); !has || err != nil {
				t.Errorf("exists: %v, %v", has, err)
			}
			if has, err := r.Exists(t.Context(), describe(l.MediaType, []byte("other"))); has || err != nil {
				t.Errorf("exists: %v, %v", has, err)
			}
			other := open(t, reg, quick(), "c", Auth{})
			if ok, err := other.Mount(t.Context(), l, r.name); !ok || err != nil {
				t.Errorf("mount: %v, %v", ok, err)
			}
			missing := random(2 << 20)
			if ok, err := other.Mount(t.Context(), describe(l.MediaType, missing), r.name); ok || err != nil {
				t.Errorf("mount of what is not there: %v, %v", ok, err)
			}
			before := reg.Requests.Load()
			if err := send(t.Context(), other, missing); err != nil || reg.Requests.Load() != before+2 { // chunk and end: the mount has opened the upload
				t.Errorf("upload after mount: %v, %d requests", err, reg.Requests.Load()-before)
			}
		})
	}
}

// TestMeta: what a client has for a registry goes with every request to it.
func TestMeta(t *testing.T) {
	with, without := 0, 0
	r := registrytest.Start(t, registrytest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("X-Meta-Team") == "core" {
				with++
			} else {
				without++
			}
			h.ServeHTTP(w, q)
		})
	}})
	repo := open(t, r, Config{}, "x", Auth{Meta: http.Header{"X-Meta-Team": {"core"}}})
	if _, err := repo.Resolve(t.Context(), "none"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if with == 0 || without != 0 {
		t.Errorf("%d requests with it, %d without", with, without)
	}
}
