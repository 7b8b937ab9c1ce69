package image

import (
	"bytes"
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
