package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image/confine"
	"hoy/lib/fault"
	"hoy/registry"
)

const workers, namesEach = 3, 4

// work changes the store at root in several goroutines, at random by seed, until it is
// killed. Each has names of its own, those that it pulls in the registry at host. Before
// it changes a name it prints "? name", and after it "+ name" when the name is there,
// "- name" when it is not.
func work(root, seed, host string) int {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	u, err := confine.New(exe, "unpack")
	if err != nil {
		panic(err)
	}
	s, err := Open(context.Background(), Options{Root: root, Unpacker: u})
	if err != nil {
		fmt.Println("! open:", err)
		return 1
	}
	s.Collect(nil)
	c, err := registry.New(registry.Config{Delay: time.Millisecond, Attempts: 2})
	if err != nil {
		panic(err)
	}
	n, _ := strconv.ParseUint(seed, 10, 64)
	var wg sync.WaitGroup
	for g := range workers {
		w := worker{s: s, c: c, host: host, g: g, r: rand.New(rand.NewPCG(n, uint64(g)))}
		wg.Go(func() {
			for {
				w.step()
			}
		})
	}
	wg.Wait()
	return 0
}

type worker struct {
	s    *Store
	c    *registry.Client
	host string
	g    int
	r    *rand.Rand
}

func (w *worker) name() string { return fmt.Sprintf("g%d/n%d:1", w.g, w.r.IntN(namesEach)) }

// pulled is a tag of worker g in the registry.
func pulled(g, n int) string { return fmt.Sprintf("g%d-n%d", g, n) }

// any is a name that the worker may have made, or pulled.
func (w *worker) any() string {
	if w.r.IntN(3) == 0 {
		return w.host + "/lib/x:" + pulled(w.g, w.r.IntN(namesEach))
	}
	return w.name()
}

// content is one of a few, so that images of all workers share layers.
func (w *worker) content() []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	body := strings.Repeat(strconv.Itoa(w.r.IntN(5)), 1000+w.r.IntN(2)*300_000)
	for _, m := range []member{file("d/"+body[:1], body), exits()} {
		m.Size = int64(len(m.body))
		t.WriteHeader(&m.Header)
		io.WriteString(t, m.body)
	}
	t.Close()
	return b.Bytes()
}

// pullable are the images of the registry, each by several names. Their layers are of
// every compression, and the last image has one that is fetched in parts.
func pullable(r *server, parts bool) {
	for n := range namesEach {
		base := layer{archive(r.t, file("d/base", noise(uint64(n/2), 2<<20)), exits()), ocispec.MediaTypeImageLayerGzip, r.gz}
		top := layer{archive(r.t, file("d/top", noise(uint64(10+n), 300_000))), ocispec.MediaTypeImageLayerZstd, r.zst}
		if parts && n == namesEach-1 {
			top = layer{archive(r.t, file("d/parts", noise(20, partsFrom+partSize/2))), ocispec.MediaTypeImageLayer, asIs}
		}
		m, d := r.image("", amd64, base, top)
		for g := range workers {
			r.manifest(d.MediaType, pulled(g, n), m)
		}
	}
}

func (w *worker) pull(ctx context.Context) {
	tag := pulled(w.g, w.r.IntN(namesEach))
	ref, err := reference.ParseNormalizedNamed(w.host + "/lib/x:" + tag)
	if err != nil {
		panic(err)
	}
	src, err := w.c.Repository(ctx, reference.TrimNamed(ref), registry.Auth{})
	if err != nil {
		panic(err)
	}
	w.change(ref.String(), true, func() error {
		_, err := w.s.Pull(ctx, ref, src, PullOptions{Platform: &amd64})
		return err
	})
}

// change does what makes or removes a name.
func (w *worker) change(name string, there bool, do func() error) {
	fmt.Println("?", name)
	switch err := do(); {
	case fault.Is(err, fault.NotFound):
		fmt.Println("=", name)
	case err != nil:
		fmt.Println("! ", name, err)
	case there:
		fmt.Println("+", name)
	default:
		fmt.Println("-", name)
	}
}

func (w *worker) step() {
	ctx, name := context.Background(), w.name()
	switch w.r.IntN(10) {
	case 0, 1:
		var t testing.T
		b := dockerArchive(&t, []string{name}, w.content(), w.content())
		w.change(name, true, func() error { _, err := w.s.Load(ctx, bytes.NewReader(b)); return err })
	case 2:
		b := w.content()
		w.change(name, true, func() error {
			_, err := w.s.Import(ctx, bytes.NewReader(b), ImportOptions{Ref: name})
			return err
		})
	case 3:
		from, b := w.any(), w.content()
		w.change(name, true, func() error {
			im, err := w.s.Get(ctx, from)
			if err != nil {
				return err
			}
			_, err = w.s.Commit(ctx, CommitOptions{Ref: name, Parent: im.ID, Manifest: &im.Manifest,
				Layer: func(_ context.Context, to io.Writer) error { _, err := to.Write(b); return err }})
			return err
		})
	case 4:
		from := w.any()
		w.change(name, true, func() error { return w.s.Tag(ctx, from, name) })
	case 5:
		name := w.any()
		w.change(name, false, func() error { _, err := w.s.Remove(ctx, name, true, nil); return err })
	case 6:
		if _, _, err := w.s.Prune(ctx, PruneOptions{}); err != nil {
			fmt.Println("! prune", err)
		}
	case 7:
		w.hold(ctx, w.any())
	default:
		w.pull(ctx)
	}
}

// hold removes an image that is held, and looks for its layers.
func (w *worker) hold(ctx context.Context, name string) {
	im, release, err := w.s.Hold(ctx, name, nil)
	if err != nil {
		return
	}
	defer release()
	w.change(name, false, func() error { _, err := w.s.Remove(ctx, name, true, nil); return err })
	if _, err := w.s.meta.GarbageCollect(namespaced(ctx)); err != nil {
		fmt.Println("! collect", err)
	}
	for _, l := range im.Layers {
		if es, err := os.ReadDir(filepath.Join(l, "d")); err != nil || len(es) == 0 {
			fmt.Println("! layer in use is gone:", l, err)
		}
	}
}
