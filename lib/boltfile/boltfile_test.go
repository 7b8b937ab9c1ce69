package boltfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// TestBitErrors damages copies of a database, bits or whole pages, at places that the seed
// says: what Check lets pass, bbolt reads and writes without a panic.
func TestBitErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	whole := database(t, path)
	found, passed := 0, 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 0))
		damaged := append([]byte{}, whole...)
		page := os.Getpagesize()
		switch r.IntN(4) {
		case 0: // a bit anywhere
			damaged[r.IntN(len(damaged))] ^= 1 << r.IntN(8)
		case 1: // a bit of a page's header or elements
			damaged[r.IntN(len(damaged)/page)*page+r.IntN(200)] ^= 1 << r.IntN(8)
		case 2: // a page of zeros
			clear(damaged[r.IntN(len(damaged)/page)*page:][:page])
		case 3: // a page in the place of another
			copy(damaged[r.IntN(len(damaged)/page)*page:][:page], whole[r.IntN(len(whole)/page)*page:])
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if Check(path) != nil {
			found++
			continue
		}
		passed++
		use(t, seed, path)
	}
	t.Logf("%d found, %d let pass", found, passed)
	if found < 200 || passed < 200 {
		t.Error("the damage was not of both kinds")
	}
}

// use reads all of a database and changes it.
func use(t *testing.T, seed uint64, path string) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("seed %d: bbolt panics: %v", seed, p)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return
	}
	defer db.Close()
	var walk func(b *bolt.Bucket)
	walk = func(b *bolt.Bucket) {
		b.ForEach(func(k, v []byte) error {
			if sub := b.Bucket(k); v == nil && sub != nil {
				walk(sub)
			}
			return nil
		})
	}
	db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { walk(b); return nil })
	})
	for i := range 10 {
		db.Update(func(tx *bolt.Tx) error {
			tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
				b.Put([]byte{0, byte(i)}, make([]byte, 3000))
				if k, v := b.Cursor().Last(); v != nil {
					b.Delete(k)
				}
				return nil
			})
			return nil
		})
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
			sub, err := b.CreateBucketIfNotExists(fmt.Appendf(nil, "sub%d", i%5))
			if err != nil {
				return err
			}
			for n := range 40 * (i % 5) {
				if err := sub.Put(fmt.Appendf(nil, "%d key %d", n, i), make([]byte, n)); err != nil {
					return err
				}
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
