package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hoy/image/extract"
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
			against(b, data, func(s *Store) error {
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
			against(b, layer, func(s *Store) error {
				_, err := s.Load(b.Context(), bytes.NewReader(all))
				return err
			})
		})
	}
}

func against(b *testing.B, layer []byte, work func(s *Store) error) {
	rootful.Need(b)
	b.SetBytes(int64(len(layer)))
	var ours, least time.Duration
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		least += timed(b, func() error { return floor(dir, layer) })
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

// floor does what any store must, without being one.
func floor(dir string, layer []byte) error {
	var g errgroup.Group
	g.Go(func() error { return writeHashed(filepath.Join(dir, "blob"), layer) })
	tar := exec.Command("tar", "-xf", "-", "-C", dir)
	g.Go(func() error {
		if extract.Detect(layer) == extract.None {
			tar.Stdin = bytes.NewReader(layer)
			return tar.Run()
		}
		plain, _, err := extract.Decompress(bytes.NewReader(layer))
		if err != nil {
			return err
		}
		defer plain.Close()
		in, err := tar.StdinPipe()
		if err != nil {
			return err
		}
		if err := tar.Start(); err != nil {
			return err
		}
		err = fanOut(context.Background(), plain, sha256.New(), func(r io.Reader) error {
			defer in.Close()
			_, err := io.Copy(in, r)
			return err
		})
		if err != nil {
			return err
		}
		return tar.Wait()
	})
	if err := g.Wait(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

func writeHashed(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	for ; len(b) > 0; b = b[min(len(b), chunk):] {
		part := b[:min(len(b), chunk)]
		sum.Write(part)
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	return nil
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
