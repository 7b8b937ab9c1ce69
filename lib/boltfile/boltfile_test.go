package boltfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestCheck has a database, parts of it, and what is none.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if err := Check(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	whole := database(t, path)
	if err := Check(path); err != nil {
		t.Errorf("whole: %v", err)
	}
	half := append([]byte{}, whole...)
	half[20]++ // of the first meta
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"one meta":   {half, ""},
		"empty":      {nil, "does not begin"},
		"two metas":  {whole[:2*os.Getpagesize()], "bytes of"},
		"cut off":    {whole[:len(whole)/4], "bytes of"},
		"zeros":      {make([]byte, len(whole)), "does not begin"},
		"other text": {[]byte(strings.Repeat("garbage ", 10000)), "does not begin"},
	} {
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		err := Check(path)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// database makes one of some pages and returns its bytes.
func database(t *testing.T, path string) []byte {
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			return b.Put([]byte{byte(i)}, make([]byte, 5000))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
