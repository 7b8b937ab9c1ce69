package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"hoy/image/confine"
	"hoy/image/extract"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/test/rootful"
)

const workers = 3

// work changes the store at root in several goroutines, at random by seed, until it is
// killed. Each has names of its own. Before it changes a name it prints "? name", and
// after it "+ name" when the name is there, "- name" when it is not.
func work(root, seed string) int {
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
	n, _ := strconv.ParseUint(seed, 10, 64)
	var wg sync.WaitGroup
	for g := range workers {
		w := worker{s: s, g: g, r: rand.New(rand.NewPCG(n, uint64(g)))}
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
	s *Store
	g int
	r *rand.Rand
}

func (w *worker) name() string { return fmt.Sprintf("g%d/n%d:1", w.g, w.r.IntN(4)) }

// content is one of a few, so that images of all workers share layers.
func (w *worker) content() []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	body := strings.Repeat(strconv.Itoa(w.r.IntN(5)), 1000+w.r.IntN(2)*300_000)
	t.WriteHeader(&tar.Header{Name: "d/" + body[:1], Mode: 0o644, Size: int64(len(body))})
	io.WriteString(t, body)
	t.Close()
	return b.Bytes()
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
	switch w.r.IntN(8) {
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
		from, b := w.name(), w.content()
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
		from := w.name()
		w.change(name, true, func() error { return w.s.Tag(ctx, from, name) })
	case 5:
		w.change(name, false, func() error { _, err := w.s.Remove(ctx, name, true, nil); return err })
	case 6:
		if _, _, err := w.s.Prune(ctx, PruneOptions{}); err != nil {
			fmt.Println("! prune", err)
		}
	case 7:
		w.hold(ctx, name)
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

// TestKill kills a process that works on a store, at each failpoint and at random
// moments, again and again, and finds the store whole each time: what was answered
// holds, every image is complete, and nothing else is left once it is collected.
func TestKill(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	names := map[string]byte{}
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range rounds + len(failpoint.Store) {
		seed, after, env := i, 20+r.IntN(200), "HOY_FAILPOINT="
		if i < len(failpoint.Store) {
			after, env = 1<<30, env+string(failpoint.Store[i])+"=kill"
		}
		if !killed(t, root, seed, after, env, names) {
			t.Fatalf("round %d (%s) failed", i, env)
		}
		if whole(t, root, names); t.Failed() {
			t.Fatalf("round %d: seed %d, killed after %d lines, %s", i, seed, after, env)
		}
	}
}

// killed runs a process until it has printed so many lines, or dies, and updates names
// with what it has said.
func killed(t *testing.T, root string, seed, after int, env string, names map[string]byte) bool {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "work", root, strconv.Itoa(seed))
	c.Env = append(os.Environ(), env)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ok := true
	for s := bufio.NewScanner(out); s.Scan(); after-- {
		kind, name, _ := strings.Cut(s.Text(), " ")
		switch kind {
		case "?":
			if before := names[name]; before == '+' {
				names[name] = 'p' // was there: if nothing happens it still is
			} else {
				names[name] = '?'
			}
		case "=":
			if names[name] == 'p' {
				names[name] = '+'
			}
		case "+", "-":
			names[name] = kind[0]
		default:
			t.Errorf("seed %d: %s", seed, s.Text())
			ok = false
		}
		if after == 0 || !ok {
			c.Process.Kill()
		}
	}
	c.Wait()
	return ok
}

// whole opens the store and looks at all that is in it.
func whole(t *testing.T, root string, names map[string]byte) {
	t.Helper()
	s, err := Open(t.Context(), Options{Root: root, Unpacker: unpacker(t)})
	if err != nil {
		t.Errorf("cannot open: %v", err)
		return
	}
	defer s.Close()
	s.Collect(nil)
	for name, state := range names {
		_, err := s.Get(t.Context(), name)
		if state == '+' && err != nil || state == '-' && err == nil {
			t.Errorf("%s is %c, and now: %v", name, state, err)
		}
		names[name] = '?'
		if err == nil {
			names[name] = '+'
		}
	}
	all, _ := s.List(t.Context())
	for _, im := range all {
		complete(t, s, im)
	}
	eventually(t, "nothing left that nobody needs", func() bool { return len(left(t, s)) == 0 })
}

// complete compares each layer of an image, as it is unpacked, with its blob.
func complete(t *testing.T, s *Store, im *Image) {
	t.Helper()
	if len(im.blobs) != len(im.Layers) || len(im.blobs) == 0 {
		t.Errorf("image %v has %d blobs and %d layers", im.RepoTags, len(im.blobs), len(im.Layers))
		return
	}
	var names []string
	if err := s.Save(t.Context(), []string{im.ID}, nil, io.Discard, func(*Image) {}); err != nil {
		t.Errorf("cannot save %v: %v", im.RepoTags, err)
	}
	for i, b := range im.blobs {
		blob, err := os.Open(filepath.Join(s.o.Root, "content/blobs/sha256", b.Digest.Encoded()))
		if err != nil {
			t.Error(err)
			continue
		}
		plain, _, err := extract.Decompress(blob)
		if err != nil {
			t.Fatal(err)
		}
		sum := im.Config.RootFS.DiffIDs[i].Verifier()
		tr := tar.NewReader(io.TeeReader(plain, sum))
		for h, err := tr.Next(); err != io.EOF; h, err = tr.Next() {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Name)
			want, _ := io.ReadAll(tr)
			// Layers are top first.
			got, err := os.ReadFile(filepath.Join(im.Layers[len(im.Layers)-1-i], h.Name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v, layer %d, %s: %v, %d bytes of %d", im.RepoTags, i, h.Name, err, len(got), len(want))
			}
		}
		io.Copy(sum, plain)
		if !sum.Verified() {
			t.Errorf("%v: blob %s is not what it was", im.RepoTags, b.Digest)
		}
		blob.Close()
	}
	if len(names) == 0 {
		t.Errorf("%v has no files", im.RepoTags)
	}
}

// left lists what is in the store and needed by nobody.
func left(t *testing.T, s *Store) (out []string) {
	t.Helper()
	p, err := s.Places(t.Context(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for dir, held := range map[string]map[string]Holder{"content/blobs/sha256": p.Blobs, "overlay/snapshots": p.Layers, "staging": nil, "content/ingest": nil} {
		es, err := os.ReadDir(filepath.Join(s.o.Root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range es {
			if held[e.Name()] == HeldByNobody && held["sha256/"+e.Name()] == HeldByNobody {
				out = append(out, dir+"/"+e.Name())
			}
		}
	}
	slices.Sort(out)
	return out
}
