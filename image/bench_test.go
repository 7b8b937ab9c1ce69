package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"hoy/test/imagefloor"
	"hoy/test/rootful"
)

// userland is the root file system archive that HOY_BENCH_ROOTFS names, or one of
// 5,000 small files.
func userland(b *testing.B) []byte {
	b.Helper()
	if p := os.Getenv("HOY_BENCH_ROOTFS"); p != "" {
		data, err := os.ReadFile(p)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	var ms []member
	for i := range 5000 {
		ms = append(ms, file(fmt.Sprintf("d%d/f%d", i/100, i), strings.Repeat("x", 8<<10)))
	}
	return archive(b, ms...)
}

// BenchmarkImport and BenchmarkLoad measure against a floor, in turns in one run: the
// archive written and hashed, its content hashed when that is another, and tar(1)
// unpacking, all at once, then one sync. "ratio" is our time by the floor's.
func BenchmarkImport(b *testing.B) {
	for _, z := range []string{"plain", "gzip"} {
		b.Run(z, func(b *testing.B) {
			data := userland(b)
			if z == "gzip" {
				data = gzipped(b, data)
			}
			against(b, [][]byte{data}, func(s *Store) error {
				_, err := s.Import(b.Context(), bytes.NewReader(data), ImportOptions{})
				return err
			})
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, z := range []string{"plain", "gzip"} {
		b.Run(z, func(b *testing.B) {
			layer := userland(b)
			var all []byte
			if z == "plain" {
				all = dockerArchive(b, []string{"a"}, layer)
			} else {
				all = compressedLayerArchive(b, layer)
				layer = gzipped(b, layer)
			}
			against(b, [][]byte{layer}, func(s *Store) error {
				_, err := s.Load(b.Context(), bytes.NewReader(all))
				return err
			})
		})
	}
}

// BenchmarkPull pulls an image of several layers from a registry in the same process.
// HOY_BENCH_IMAGE names an archive of docker save that has them.
func BenchmarkPull(b *testing.B) {
	for _, z := range []string{"plain", "gzip"} {
		b.Run(z, func(b *testing.B) {
			r := serve(b)
			var sent [][]byte
			var all []layer
			for _, l := range layers(b) {
				one := layer{l, ocispec.MediaTypeImageLayer, asIs}
				if z == "gzip" {
					one.mediaType, one.sent = ocispec.MediaTypeImageLayerGzip, r.gz
				}
				all, sent = append(all, one), append(sent, one.sent(l))
			}
			r.image("1", amd64, all...)
			against(b, sent, func(s *Store) error {
				_, err := s.Pull(b.Context(), r.ref("1"), r.source(), PullOptions{Platform: &amd64})
				return err
			})
		})
	}
}

// layers are those of the archive that HOY_BENCH_IMAGE names, or four times userland.
func layers(b *testing.B) (all [][]byte) {
	b.Helper()
	p := os.Getenv("HOY_BENCH_IMAGE")
	if p == "" {
		for range 4 {
			all = append(all, userland(b))
		}
		return all
	}
	f, err := os.Open(p)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			b.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".tar") {
			l, err := io.ReadAll(r)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, l)
		}
	}
}

func against(b *testing.B, layers [][]byte, work func(s *Store) error) {
	rootful.Need(b)
	bytes := 0
	for _, l := range layers {
		bytes += len(l)
	}
	b.SetBytes(int64(bytes))
	var ours, least time.Duration
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		least += timed(b, func() error { return imagefloor.Run(dir, layers) })
		os.RemoveAll(dir)
		s := open(b, Options{Root: b.TempDir()})
		unix.Sync()
		b.StartTimer()
		ours += timed(b, func() error { return work(s) })
		b.StopTimer()
		os.RemoveAll(s.o.Root)
		unix.Sync()
		b.StartTimer()
	}
	b.ReportMetric(float64(ours)/float64(least), "ratio")
	b.ReportMetric(float64(least.Milliseconds())/float64(b.N), "floor-ms/op")
}

func timed(b *testing.B, f func() error) time.Duration {
	b.Helper()
	start := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// BenchmarkOpen opens a store with 200 images, and BenchmarkGet finds one of them.
func BenchmarkOpen(b *testing.B) {
	rootful.Need(b)
	root := filled(b, 200)
	for b.Loop() {
		s, err := Open(b.Context(), Options{Root: root})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

func BenchmarkGet(b *testing.B) {
	rootful.Need(b)
	s := open(b, Options{Root: filled(b, 200)})
	for b.Loop() {
		if _, err := s.Get(b.Context(), "image100"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	rootful.Need(b)
	s := open(b, Options{Root: filled(b, 200)})
	for b.Loop() {
		if _, err := s.List(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// filled is the root of a store with n small images.
func filled(b *testing.B, n int) string {
	b.Helper()
	s, err := Open(b.Context(), Options{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		a := archive(b, file("f", fmt.Sprint(i)))
		if _, err := s.Import(b.Context(), bytes.NewReader(a), ImportOptions{Ref: fmt.Sprintf("image%d", i)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return s.o.Root
}
