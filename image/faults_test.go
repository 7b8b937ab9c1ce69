package image

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
	"hoy/test/rootful"
)

// TestPullFaults has everything go wrong at every request of a pull in turn: there is the
// right image, or an error that says what is to blame and no image; and the next pull, with
// nothing in its way, brings it.
func TestPullFaults(t *testing.T) {
	rootful.Check(t)
	logrus.SetOutput(io.Discard)
	broken := &registrytest.Broken{}
	r := &server{t: t, served: map[string]int64{}}
	r.Registry = registrytest.Start(t, registrytest.Options{Wrap: broken.Wrap})
	one, two := archive(t, file("one", noise(1, 100_000))), archive(t, file("two", "2\n"))
	_, d := r.image("1", amd64, layer{one, ocispec.MediaTypeImageLayerGzip, r.gz}, layer{two, ocispec.MediaTypeImageLayerZstd, r.zst})

	right := func(t *testing.T, p *Pulled) {
		t.Helper()
		if p.Target.Digest != d.Digest || len(p.Image.Layers) != 2 {
			t.Fatalf("another image: %+v", p)
		}
		for n, want := range map[string]string{"one": noise(1, 100_000), "two": "2\n"} {
			i := map[string]int{"one": 1, "two": 0}[n] // topmost first
			if b, err := os.ReadFile(filepath.Join(p.Image.Layers[i], n)); err != nil || string(b) != want {
				t.Fatalf("the image's file %s has %d bytes, %v", n, len(b), err)
			}
		}
	}
	broken.Count.Store(0)
	right(t, mustPull(t, open(t, Options{}), r, "1", PullOptions{}))
	requests := broken.Count.Load()
	faults := registrytest.Faults()
	t.Logf("%d requests, %d faults", requests, len(faults))
	for _, f := range faults {
		for at := range requests {
			for _, all := range []bool{false, true} {
				name := f.Name + " once"
				if all {
					name = f.Name + " for ever"
				}
				t.Run(name, func(t *testing.T) {
					s := open(t, Options{})
					broken.Count.Store(0)
					broken.Fault, broken.At, broken.All = &f, at, all
					p, err := s.Pull(t.Context(), r.ref("1"), r.source(), PullOptions{})
					broken.Fault = nil
					switch {
					case err == nil:
						right(t, p)
						return
					case f.Heals && !all:
						t.Errorf("at request %d: %v", at, err)
					case fault.KindOf(err) == fault.Internal:
						t.Errorf("at request %d: an error without kind: %v", at, err)
					}
					if l, err := s.List(t.Context()); err != nil || len(l) != 0 {
						t.Errorf("at request %d: there are images: %+v, %v", at, l, err)
					}
					right(t, mustPull(t, s, r, "1", PullOptions{}))
				})
			}
		}
	}
}
