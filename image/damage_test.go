package image

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

// TestDamage has a database of the store be cut off, overwritten or gone: the store does
// not open, says which file it is, and touches nothing. Put back, all is there.
func TestDamage(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	t.Run("fill", func(t *testing.T) { // its end closes the store
		s := open(t, Options{Root: root})
		if _, err := s.Import(t.Context(), bytes.NewReader(archive(t, dir("etc"), file("etc/motd", "hello\n"))), ImportOptions{Ref: "base"}); err != nil {
			t.Fatal(err)
		}
	})
	for _, name := range []string{"meta.db", "overlay/metadata.db"} {
		path := filepath.Join(root, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for how, damage := range map[string]func() error{
			"gone":    func() error { return os.Remove(path) },
			"empty":   func() error { return os.Truncate(path, 0) },
			"cut off": func() error { return os.Truncate(path, int64(len(whole)/4)) },
			"zeros":   func() error { return os.WriteFile(path, make([]byte, len(whole)), 0o600) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(t.Context(), Options{Root: root, Unpacker: unpacker(t)}); err == nil {
				s.Close()
				t.Fatalf("%s %s: the store opens", name, how)
			} else if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s %s: %v", name, how, err)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	im, err := open(t, Options{Root: root}).Get(t.Context(), "base")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(im.Layers[0], "etc/motd")); err != nil || string(b) != "hello\n" {
		t.Errorf("etc/motd: %q, %v", b, err)
	}
}

// TestBitErrors damages copies of a store's databases at places that the seed says. The
// store names the file and does not open, or it opens and answers whatever it is asked: it
// never ends the engine.
func TestBitErrors(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	t.Run("fill", func(t *testing.T) {
		s := open(t, Options{Root: root})
		for _, name := range []string{"one", "two", "three"} {
			if _, err := s.Import(t.Context(), bytes.NewReader(archive(t, dir("etc"), file("etc/motd", name))), ImportOptions{Ref: name}); err != nil {
				t.Fatal(err)
			}
		}
	})
	names := []string{"meta.db", "overlay/metadata.db"}
	whole := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		whole[name] = b
	}
	opened, refused := 0, 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		damaged := names[r.IntN(2)]
		for _, name := range names {
			b := bytes.Clone(whole[name])
			for range 1 + r.IntN(8) {
				page := r.IntN(len(b)/os.Getpagesize()) * os.Getpagesize()
				if at := page + r.IntN(os.Getpagesize()/(1+9*r.IntN(2))); name == damaged { // often where elements are
					b[at] ^= 1 << r.IntN(8)
				}
			}
			if err := os.WriteFile(filepath.Join(root, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(t.Context(), Options{Root: root, Unpacker: unpacker(t)})
		if err != nil {
			refused++
			if fault.Is(err, fault.Unavailable) && !strings.Contains(err.Error(), filepath.Join(root, damaged)) {
				t.Errorf("seed %d: %s is damaged: %v", seed, damaged, err)
			}
			continue
		}
		opened++
		for _, ref := range []string{"one", "two", "three"} {
			s.Get(t.Context(), ref)
		}
		s.Sizes(t.Context())
		s.Tag(t.Context(), "one", "four")
		s.Remove(t.Context(), "two", true, nil)
		if err := s.Close(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d opened, %d did not", opened, refused)
	if opened == 0 || refused == 0 {
		t.Error("the damage was not of both kinds")
	}
}
