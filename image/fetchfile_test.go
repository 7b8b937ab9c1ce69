package image

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"hoy/test/rootful"
)

// TestPartial writes a blob in parts, in any order and with any interruption, and finds
// what was written, no more and no less.
func TestPartial(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		size := int64(partsFrom) + rng.Int64N(3*partSize)
		path := filepath.Join(t.TempDir(), "p")
		var have int64
		buf := bytes.Repeat([]byte("x"), chunk)
		for done := false; !done; {
			p, err := openPartial(path, size)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.fetched(); got != have || p.resumed != (have > 0) {
				t.Fatalf("seed %d: %d bytes are there, %d were written", seed, got, have)
			}
			for range 150 {
				i := p.next(rng.IntN(len(p.have)))
				if i == len(p.have) {
					i = p.next(0)
				}
				if done = i == len(p.have); done {
					break
				}
				off, n := p.missing(i)
				n = min(n, 1+rng.Int64N(chunk*4))
				for n > 0 {
					b := buf[:min(n, chunk)]
					if err := p.write(b, off); err != nil {
						t.Fatal(err)
					}
					off, n, have = off+int64(len(b)), n-int64(len(b)), have+int64(len(b))
				}
			}
			if done {
				if err := p.finish(); err != nil {
					t.Fatal(err)
				}
				if n, _ := p.ready(); n != size || have != size {
					t.Errorf("seed %d: %d of %d ready, %d written", seed, n, size, have)
				}
			}
			p.f.Close()
		}
		p, err := openPartial(path, size)
		if err != nil {
			t.Fatal(err)
		}
		if p.next(0) != len(p.have) {
			t.Errorf("seed %d: a whole blob is not whole", seed)
		}
		p.f.Close()
		// With another size it is another blob.
		if p, err = openPartial(path, size-1); err != nil || p.fetched() != 0 {
			t.Fatalf("seed %d: %v", seed, err)
		}
		p.f.Close()
	}
}

// TestPartialsGo keeps what an interrupted pull has left for a week, and at most until
// somebody prunes; what the store has goes at once.
func TestPartialsGo(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	m, _ := r.image("1", amd64, big(t, 1, 1<<20))
	d := m.Layers[0].Digest
	root := t.TempDir()
	broken := func() {
		t.Helper()
		s := open(t, Options{Root: root})
		r.setMeddle(cut(300_000))
		if _, err := s.Pull(t.Context(), r.ref("1"), r.source(), PullOptions{Platform: &amd64}); err == nil {
			t.Fatal("a broken connection is no error")
		}
		r.setMeddle(nil)
		crash(t, s)
	}
	there := func(s *Store, d digest.Digest) bool { _, err := os.Stat(s.partialPath(d)); return err == nil }

	broken()
	s := open(t, Options{Root: root})
	if !there(s, d) {
		t.Error("it does not outlast the store")
	}
	if _, freed, err := s.Prune(t.Context(), PruneOptions{}); err != nil || freed < 100_000 || there(s, d) {
		t.Errorf("prune: %d bytes, %v", freed, err)
	}
	crash(t, s)

	broken()
	old := time.Now().Add(-staleAfter - time.Hour)
	if err := os.Chtimes(s.partialPath(d), old, old); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Root: root})
	if there(s, d) {
		t.Error("an old one stays")
	}
	mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	if err := os.WriteFile(s.partialPath(d), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	crash(t, s)
	if s = open(t, Options{Root: root}); there(s, d) {
		t.Error("what the store has stays")
	}
}
