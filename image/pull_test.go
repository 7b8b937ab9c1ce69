package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"hoy/registry"
	"hoy/registry/registrytest"
	"hoy/test/rootful"
)

// server is a registry with images of a test's own making.
type server struct {
	*registrytest.Registry
	t testing.TB

	mu     sync.Mutex
	served map[string]int64 // bytes of blobs, by digest
	// meddle changes what a blob is answered with; nil: nothing.
	meddle func(w http.ResponseWriter, q *http.Request) http.ResponseWriter
}

// counting counts what goes through.
type counting struct {
	http.ResponseWriter
	s    *server
	blob string
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.served[c.blob] += int64(n)
	return n, err
}

func serve(t testing.TB) *server {
	s := &server{t: t, served: map[string]int64{}}
	logrus.SetOutput(io.Discard) // the registry's words about what it does not have
	s.Registry = registrytest.Start(t, registrytest.Options{Dir: t.TempDir(), Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, blob, ok := strings.Cut(q.URL.Path, "/blobs/sha256:")
			if ok && q.Method == http.MethodGet {
				w = counting{w, s, blob}
				s.mu.Lock()
				meddle := s.meddle
				s.mu.Unlock()
				if meddle != nil {
					if w = meddle(w, q); w == nil {
						return
					}
				}
			}
			h.ServeHTTP(w, q)
		})
	}})
	return s
}

func (s *server) bytes(d ocispec.Descriptor) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[d.Digest.Encoded()]
}

func (s *server) setMeddle(f func(w http.ResponseWriter, q *http.Request) http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle = f
}

// repository is the registry's, as the engine reaches it.
func (s *server) repository(name string) *registry.Repository {
	s.t.Helper()
	c, err := registry.New(registry.Config{Delay: time.Millisecond, Attempts: 2})
	if err != nil {
		s.t.Fatal(err)
	}
	named, err := reference.ParseNormalizedNamed(s.Host + "/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	repo, err := c.Repository(s.t.Context(), named, registry.Auth{})
	if err != nil {
		s.t.Fatal(err)
	}
	return repo
}

func (s *server) source() Source { return s.repository("lib/x") }

func (s *server) ref(tag string) reference.Named {
	s.t.Helper()
	named, err := reference.ParseNormalizedNamed(s.Host + "/lib/x:" + tag)
	if err != nil {
		s.t.Fatal(err)
	}
	return named
}

func (s *server) send(method, url, mediaType string, body []byte) {
	s.t.Helper()
	q, err := http.NewRequestWithContext(s.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	q.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		s.t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

func (s *server) blob(mediaType string, b []byte) ocispec.Descriptor {
	s.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	resp, err := http.Post(s.URL+"/v2/lib/x/blobs/uploads/", "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	to := resp.Header.Get("Location")
	s.send(http.MethodPut, to+"&digest="+d.Digest.String(), "application/octet-stream", b)
	return d
}

func (s *server) manifest(mediaType, tag string, v any) ocispec.Descriptor {
	s.t.Helper()
	b := []byte(marshal(s.t, v))
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if tag == "" {
		tag = d.Digest.String()
	}
	s.send(http.MethodPut, s.URL+"/v2/lib/x/manifests/"+tag, mediaType, b)
	return d
}

// layer is a plain tar, and how it is sent.
type layer struct {
	plain     []byte
	mediaType string
	sent      func([]byte) []byte
}

func asIs(b []byte) []byte { return b }

// image makes an image of layers; tag may be "".
func (s *server) image(tag string, p ocispec.Platform, layers ...layer) (ocispec.Manifest, ocispec.Descriptor) {
	s.t.Helper()
	config := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l.plain))
		m.Layers = append(m.Layers, s.blob(l.mediaType, l.sent(l.plain)))
	}
	m.Config = s.blob(ocispec.MediaTypeImageConfig, []byte(marshal(s.t, config)))
	return m, s.manifest(m.MediaType, tag, m)
}

func (s *server) gz(b []byte) []byte { return gzipped(s.t, b) }

func (s *server) zst(b []byte) []byte {
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		s.t.Fatal(err)
	}
	z.Write(b)
	if err := z.Close(); err != nil {
		s.t.Fatal(err)
	}
	return out.Bytes()
}

// noise is n bytes that nothing compresses.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(fmt.Sprint(seed)))).Read(b)
	return string(b)
}

func mustPull(t testing.TB, s *Store, r *server, tag string, o PullOptions) *Pulled {
	t.Helper()
	p, err := s.Pull(t.Context(), r.ref(tag), r.source(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// partials lists what pulls have left half-fetched.
func leftovers(t testing.TB, s *Store) []string {
	t.Helper()
	var names []string
	for _, dir := range []string{"partial", "content/ingest", "staging"} {
		found, err := filepath.Glob(filepath.Join(s.o.Root, dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	return names
}

// TestPull fetches layers of every compression once, unpacks them and keeps nothing else.
func TestPull(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	base, mid, top := archive(t, dir("etc"), file("etc/os", "one\n"), file("etc/gone", "x")), archive(t, file("etc/new", "two\n")), archive(t, file("etc/.wh.gone", ""))
	m, d := r.image("1", amd64,
		layer{base, ocispec.MediaTypeImageLayerGzip, r.gz},
		layer{mid, ocispec.MediaTypeImageLayerZstd, r.zst},
		layer{top, ocispec.MediaTypeImageLayer, asIs})
	s := open(t, Options{})
	var mu sync.Mutex
	states := map[digest.Digest][]State{}
	got := mustPull(t, s, r, "1", PullOptions{Platform: &amd64, Progress: func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		states[p.Digest] = append(states[p.Digest], p.State)
	}})
	if got.Target.Digest != d.Digest || !got.Newer || len(got.Image.Layers) != 3 {
		t.Errorf("%+v", got)
	}
	if b, err := os.ReadFile(filepath.Join(got.Image.Layers[2], "etc/os")); err != nil || string(b) != "one\n" {
		t.Errorf("etc/os: %q, %v", b, err)
	}
	for _, l := range m.Layers {
		if n := r.bytes(l); n != l.Size {
			t.Errorf("%s: %d bytes fetched of %d", l.MediaType, n, l.Size)
		}
		if st := states[l.Digest]; len(st) < 3 || st[0] != Begun || st[len(st)-1] != Complete {
			t.Errorf("%s: %v", l.MediaType, st)
		}
	}
	if names := leftovers(t, s); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
	again := mustPull(t, s, r, "1", PullOptions{})
	if again.Newer || r.bytes(m.Layers[0]) != m.Layers[0].Size {
		t.Errorf("pulled again: %+v, %d bytes", again, r.bytes(m.Layers[0]))
	}
	byDigest, err := reference.WithDigest(reference.TrimNamed(r.ref("1")), d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Pull(t.Context(), byDigest, r.source(), PullOptions{})
	if err != nil || p.Image.ID != d.Digest.String() || len(p.Image.RepoTags) != 1 {
		t.Errorf("by digest: %+v, %v", p, err)
	}
}

// cut ends the connection after n bytes of blobs, all in all.
func cut(n int64) func(w http.ResponseWriter, q *http.Request) http.ResponseWriter {
	var left atomic.Int64
	left.Store(n)
	return func(w http.ResponseWriter, q *http.Request) http.ResponseWriter { return cutting{w, &left} }
}

type cutting struct {
	http.ResponseWriter
	left *atomic.Int64
}

func (c cutting) Write(b []byte) (int, error) {
	if c.left.Add(-int64(len(b))) < 0 {
		panic(http.ErrAbortHandler)
	}
	n, err := c.ResponseWriter.Write(b)
	http.NewResponseController(c.ResponseWriter).Flush()
	return n, err
}

func (c counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// TestStalledClient: a pull whose client reads nothing holds up no other pull of the same
// image.
func TestStalledClient(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	r.image("1", amd64, big(t, 1, 1<<20))
	s := open(t, Options{})
	reads, stalled, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	first := true
	go func() {
		_, err := s.Pull(t.Context(), r.ref("1"), r.source(), PullOptions{Platform: &amd64, Progress: func(p Progress) {
			if p.State == Downloaded && first {
				first = false
				close(stalled)
				<-reads
			}
		}})
		ended <- err
	}()
	<-stalled
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Pull(ctx, r.ref("1"), r.source(), PullOptions{Platform: &amd64}); err != nil {
		t.Error(err)
	}
	close(reads)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
