package volume

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestForsake: of what was made for a container that never came to be only what is surely
// nobody's goes.
func TestForsake(t *testing.T) {
	root := t.TempDir()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	use := func(r Request, container string) *Volume {
		v, err := s.Use(r, container)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	empty := use(Request{Labels: map[string]string{"a": "b"}}, "c").Name
	full := use(Request{}, "c")
	if err := os.WriteFile(filepath.Join(full.Mountpoint, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := use(Request{}, "d").Name
	named := use(Request{Name: "named"}, "c").Name
	used := use(Request{}, "c").Name
	byNobody, err := s.Create(Request{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = Open(root); err != nil { // references live in memory
		t.Fatal(err)
	}
	use(Request{Name: used}, "e")
	if got := s.Forsake("c"); !slices.Equal(got, []string{empty}) {
		t.Errorf("removed %v, want %s", got, empty)
	}
	if got := s.Forsake(""); got != nil {
		t.Errorf("removed %v of no container", got)
	}
	for _, name := range []string{full.Name, other, named, used, byNobody.Name} {
		if _, err := s.Get(name); err != nil {
			t.Error(err)
		}
	}
	s.Close()
}
