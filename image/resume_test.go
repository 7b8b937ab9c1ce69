package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// big is a layer that takes a while: n bytes that are sent as they are.
func big(t testing.TB, seed uint64, n int) layer {
	return layer{archive(t, file("noise", noise(seed, n))), ocispec.MediaTypeImageLayer, asIs}
}

// TestPullResumes breaks pulls again and again, and kills the store in between: no byte
// is fetched twice.
func TestPullResumes(t *testing.T) {
	rootful.Check(t)
	for name, size := range map[string]int{"whole": 3 << 20, "in parts": partsFrom + partSize/2} {
		t.Run(name, func(t *testing.T) {
			r := serve(t)
			m, _ := r.image("1", amd64, big(t, 1, size))
			l := m.Layers[0]
			root, src := t.TempDir(), &counted{Source: r.source(), of: l.Digest}
			for n := range 4 {
				s := open(t, Options{Root: root})
				r.setMeddle(cut(int64(size) / 6))
				if _, err := s.Pull(t.Context(), r.ref("1"), src, PullOptions{Platform: &amd64}); err == nil {
					t.Fatal("a broken connection is no error")
				} else if !fault.Is(err, fault.Unavailable) {
					t.Errorf("%d: %v", n, err)
				}
				crash(t, s)
			}
			r.setMeddle(nil)
			s := open(t, Options{Root: root})
			if _, err := s.Pull(t.Context(), r.ref("1"), src, PullOptions{Platform: &amd64}); err != nil {
				t.Fatal(err)
			}
			if n := src.n.Load(); n != l.Size {
				t.Errorf("%d bytes fetched of %d", n, l.Size)
			}
			if names := leftovers(t, s); len(names) > 0 {
				t.Errorf("left: %v", names)
			}
		})
	}
}

// counted counts the bytes that come of a blob.
type counted struct {
	Source
	of digest.Digest
	n  atomic.Int64
}

func (c *counted) Fetch(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
	r, err := c.Source.Fetch(ctx, d, off, n)
	if err != nil || d.Digest != c.of {
		return r, err
	}
	return countedReader{r, &c.n}, nil
}

type countedReader struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c countedReader) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// crash gives up a store as SIGKILL would: nothing is done about what is on disk.
func crash(t *testing.T, s *Store) {
	t.Helper()
	for _, c := range s.closers {
		if err := c(); err != nil {
			t.Fatal(err)
		}
	}
	s.closers = nil
}

// TestPullNoRanges pulls in parts from a registry that gives whole blobs only.
func TestPullNoRanges(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	size := partsFrom + partSize
	m, _ := r.image("1", amd64, big(t, 2, size))
	r.setMeddle(func(w http.ResponseWriter, q *http.Request) http.ResponseWriter {
		q.Header.Del("Range")
		return w
	})
	s := open(t, Options{})
	mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	if n := r.bytes(m.Layers[0]); n > 2*int64(size) {
		t.Errorf("%d bytes fetched of %d", n, m.Layers[0].Size)
	}
}

// flip changes a byte of every blob's answer.
type flipped struct{ http.ResponseWriter }

func (f flipped) Write(b []byte) (int, error) {
	c := append([]byte{}, b...)
	c[len(c)/2] ^= 1
	return f.ResponseWriter.Write(c)
}

func (f flipped) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// TestPullDamaged refuses what is not what its digest says, names and removes it. What
// an earlier pull has left is fetched anew once.
func TestPullDamaged(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	for i, l := range []layer{
		big(t, 3, 1<<20),
		{archive(t, file("noise", noise(4, 1<<20))), ocispec.MediaTypeImageLayerGzip, r.gz},
	} {
		m, _ := r.image("1", amd64, l)
		d := m.Layers[0]
		s := open(t, Options{})
		r.setMeddle(func(w http.ResponseWriter, q *http.Request) http.ResponseWriter {
			if strings.HasSuffix(q.URL.Path, d.Digest.Encoded()) {
				return flipped{w}
			}
			return w
		})
		_, err := s.Pull(t.Context(), r.ref("1"), r.source(), PullOptions{Platform: &amd64})
		if !errors.Is(err, errDigest) || !strings.Contains(err.Error(), d.Digest.String()) {
			t.Errorf("%d: %v", i, err)
		}
		if names := leftovers(t, s); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
		// Half of it comes, and is damaged on the disk.
		r.setMeddle(cut(d.Size / 2))
		if _, err := s.Pull(t.Context(), r.ref("1"), r.source(), PullOptions{Platform: &amd64}); err == nil {
			t.Fatal("a broken connection is no error")
		}
		f, err := os.OpenFile(s.partialPath(d.Digest), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("damaged"), 1000); err != nil {
			t.Fatal(err)
		}
		f.Close()
		r.setMeddle(nil)
		mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	}
}

// TestPullWrongContent refuses layers whose content or size is not what the image says.
func TestPullWrongContent(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	m, _ := r.image("good", amd64, big(t, 5, 1<<20))
	other, _ := r.image("other", amd64, big(t, 6, 1<<20))
	other.Config = m.Config // the layer is another one than its configuration's
	r.manifest(other.MediaType, "wrong", other)
	small := m
	small.Layers = append([]ocispec.Descriptor{}, m.Layers...)
	small.Layers[0].Size -= 512
	r.manifest(small.MediaType, "size", small)
	s := open(t, Options{MaxUnpacked: 2 << 20})
	r.image("large", amd64, big(t, 7, 3<<20))
	for tag, want := range map[string]string{
		"wrong": "the image's configuration says",
		"size":  m.Layers[0].Digest.String(),
		"large": ErrTooLarge.Error(),
	} {
		_, err := s.Pull(t.Context(), r.ref(tag), r.source(), PullOptions{Platform: &amd64})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", tag, err)
		}
	}
	if l, err := s.List(t.Context()); err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
	mustPull(t, s, r, "good", PullOptions{Platform: &amd64})
}

// users is how many pulls share the fetch of a blob.
func (s *Store) users(d digest.Digest) int {
	s.fetchMu.Lock()
	defer s.fetchMu.Unlock()
	if f := s.fetches[d]; f != nil {
		return f.users
	}
	return 0
}

// TestPullsShare pulls two images with one layer at the same time: it comes once, also
// when the one who has begun to fetch it goes away.
func TestPullsShare(t *testing.T) {
	rootful.Check(t)
	for _, leaves := range []bool{false, true} {
		r := serve(t)
		shared := big(t, 8, 1<<20)
		m, _ := r.image("1", amd64, shared)
		r.image("2", amd64, shared, layer{archive(t, file("two", "2")), ocispec.MediaTypeImageLayer, asIs})
		d := m.Layers[0].Digest
		held := make(chan struct{})
		r.setMeddle(func(w http.ResponseWriter, q *http.Request) http.ResponseWriter {
			if strings.HasSuffix(q.URL.Path, d.Encoded()) {
				<-held
			}
			return w
		})
		s := open(t, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		pull := func(ctx context.Context, tag string, fails bool) {
			all.Go(func() {
				_, err := s.Pull(ctx, r.ref(tag), r.source(), PullOptions{Platform: &amd64})
				if (err != nil) != fails {
					t.Errorf("%s: %v", tag, err)
				}
			})
		}
		pull(ctx, "1", leaves)
		eventually.True(t, "the first fetches", func() bool { return s.users(d) == 1 })
		pull(t.Context(), "2", false)
		eventually.True(t, "the second takes part", func() bool { return s.users(d) == 2 })
		if leaves {
			cancel()
			eventually.True(t, "the first is gone", func() bool { return s.users(d) == 1 })
		}
		close(held)
		all.Wait()
		if n := r.bytes(m.Layers[0]); n != m.Layers[0].Size {
			t.Errorf("%d bytes of %d", n, m.Layers[0].Size)
		}
	}
}

// TestPullFullDisk has no room for a layer: one line says so, and nothing stays.
func TestPullFullDisk(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	if err := unix.Mount("small", root, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	r := serve(t)
	r.image("base", amd64, big(t, 9, 1<<20))
	r.image("1", amd64, big(t, 10, 16<<20))                                                                                  // more than there is
	r.image("2", amd64, big(t, 11, 5<<20))                                                                                   // the blob fits, not what it unpacks to
	r.image("3", amd64, layer{archive(t, file("zeros", strings.Repeat("\x00", 64<<20))), ocispec.MediaTypeImageLayer, r.gz}) // a bomb
	s := open(t, Options{Root: root})
	base := mustPull(t, s, r, "base", PullOptions{Platform: &amd64})
	for _, tag := range []string{"1", "2", "3"} {
		_, err := s.Pull(t.Context(), r.ref(tag), r.source(), PullOptions{Platform: &amd64})
		if !errors.Is(err, unix.ENOSPC) || !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", tag, err)
		}
	}
	for _, n := range leftovers(t, s) {
		if strings.Contains(n, "staging") || strings.Contains(n, "ingest") {
			t.Errorf("left: %s", n)
		}
	}
	if _, err := os.Stat(base.Image.Layers[0] + "/noise"); err != nil {
		t.Error(err)
	}
}
