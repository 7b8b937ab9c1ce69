package image

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiimage "github.com/moby/moby/api/types/image"

	"hoy/test/rootful"
)

// budgeted trims to a budget and returns the names and IDs of what went, in order.
func budgeted(t *testing.T, s *Store, bytes int64, uses ...Use) (went []string) {
	t.Helper()
	err := s.trimTo(t.Context(), Budget{
		Bytes: func() int64 { return bytes }, Uses: func() []Use { return uses },
		Removed: func(im *Image, what []apiimage.DeleteResponse, freed int64) {
			if freed <= 0 || len(what) == 0 {
				t.Errorf("%v: %d bytes freed, %v", im.RepoTags, freed, what)
			}
			went = append(went, strings.Join(append(slices.Clone(im.RepoTags), im.ID[:3]), " "))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return went
}

func (s *Store) total(t *testing.T) int64 {
	t.Helper()
	_, n, err := s.Sizes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// random is content of a layer that no two images have.
func random(seed uint64) string {
	b := make([]byte, 100_000)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(b)
	return string(b)
}

func TestBudget(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	var ims []*Image
	for i := range 6 {
		ims = append(ims, put(t, s, random(uint64(i)), fmt.Sprintf("i%d:1", i)))
	}
	put(t, s, random(9), "i5:1") // what had the name dangles
	one := s.total(t) / 7
	if went := budgeted(t, s, 0); went != nil {
		t.Errorf("without a budget: %v", went)
	}
	if went := budgeted(t, s, s.total(t)); went != nil {
		t.Errorf("within the budget: %v", went)
	}
	// i0 has a container, i1 has been used since, i2 is held by a container in the making.
	s.usedImage(ims[1])
	_, release, err := s.Hold(t.Context(), "i2:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(budgeted(t, s, 5*one, Use{ID: ims[0].ID, Name: "i0:1"})), "[sha i3:1 sha]"; got != want {
		t.Errorf("went %s, want %s", got, want)
	}
	if n := s.total(t); n > 5*one {
		t.Errorf("%d bytes, the budget has %d", n, 5*one)
	}
	// Of the rest i2 is held, and the last one stays: i0's use was noted just now.
	if got, want := fmt.Sprint(budgeted(t, s, 1, Use{ID: ims[0].ID, Name: "i0:1"})), "[i4:1 sha i5:1 sha i1:1 sha]"; got != want {
		t.Errorf("went %s, want %s", got, want)
	}
	release()
	if got, want := fmt.Sprint(budgeted(t, s, 1)), "[i2:1 sha]"; got != want {
		t.Errorf("went %s, want %s", got, want)
	}
	if _, err := s.Get(t.Context(), "i0:1"); err != nil {
		t.Errorf("the image used last: %v", err)
	}
}

// TestBudgetFreesOrLeaves: what would free nothing stays, and so does what has come
// since an operation began.
func TestBudgetFreesOrLeaves(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	base := put(t, s, random(1), "base:1")
	if _, err := s.Commit(t.Context(), CommitOptions{Ref: "child:1", Parent: base.ID, Manifest: &base.Manifest}); err != nil {
		t.Fatal(err)
	}
	if went := budgeted(t, s, 1); went != nil {
		t.Errorf("went %v, which frees nothing", went)
	}
	_, done, err := s.lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, random(2), "a:1")
	put(t, s, random(3), "b:1")
	if went := budgeted(t, s, 1); slices.ContainsFunc(went, func(n string) bool { return n[0] == 'a' || n[0] == 'b' }) {
		t.Errorf("went %v, while an operation was under way", went)
	}
	done()
	if went := fmt.Sprint(budgeted(t, s, 1)); !strings.Contains(went, "a:1") || strings.Contains(went, "b:1") {
		t.Errorf("went %s, want a:1 among them", went)
	}
}

// TestUsesSurvive: when images were used is known after a start, and a file that is
// damaged counts as none.
func TestUsesSurvive(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	s, err := Open(t.Context(), Options{Root: root, Unpacker: unpacker(t)})
	if err != nil {
		t.Fatal(err)
	}
	s.KeepBudget(Budget{Bytes: func() int64 { return 0 }, Uses: func() []Use { return nil }})
	a := put(t, s, random(1), "a:1")
	put(t, s, random(2), "b:1")
	s.usedImage(a)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Root: root})
	if got := fmt.Sprint(budgeted(t, s, 1)); got != "[b:1 sha]" {
		t.Errorf("went %s, want b:1: a was used later", got)
	}
	if err := os.WriteFile(filepath.Join(root, "used.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if u := openLastUses(root); len(u.at) != 0 {
		t.Errorf("of a damaged file: %v", u.at)
	}
}
