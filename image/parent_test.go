package image

import (
	"bytes"
	"testing"

	"hoy/test/busybox"
)

// TestOrphans: with an image go those it was made of, but not what somebody uses, what
// has a name, or what another one was made of.
func TestOrphans(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	tar, err := busybox.Tar()
	if err != nil {
		t.Fatal(err)
	}
	base, err := s.Import(ctx, bytes.NewReader(tar), ImportOptions{Ref: "base"})
	if err != nil {
		t.Fatal(err)
	}
	child := func(ref, parent, by string) string {
		t.Helper()
		of, err := s.Get(ctx, parent)
		if err != nil {
			t.Fatal(err)
		}
		im, err := s.Commit(ctx, CommitOptions{Ref: ref, Manifest: &of.Manifest, Config: of.Config.Config, CreatedBy: by})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetParent(ctx, im.ID, parent); err != nil {
			t.Fatal(err)
		}
		return im.ID
	}
	one := child("", base.ID, "one")
	two := child("", one, "two")
	top := child("top", two, "top")
	side := child("side", one, "side")
	present := s.Present()
	for _, id := range []string{one, two, top, side, base.ID} {
		if im, err := s.Get(ctx, id); err != nil || !present(id) {
			t.Errorf("%v, %v", im, err)
		}
	}
	remove := func(ref, parent, user string, want ...string) {
		t.Helper()
		if _, err := s.Remove(ctx, ref, false, nil); err != nil {
			t.Fatal(err)
		}
		gone, err := s.RemoveOrphans(ctx, parent, func(id string) []User {
			if id == user {
				return []User{{Container: "c"}}
			}
			return nil
		})
		if err != nil || len(gone) != len(want) {
			t.Fatalf("%v, %v; want %v", gone, err, want)
		}
		for i := range want {
			if gone[i].Deleted != want[i] {
				t.Errorf("%v, want %v", gone, want)
			}
		}
	}
	remove("top", two, two)
	remove(side, "", "")
	if present := s.Present(); present(side) || present(top) || !present(two) {
		t.Error("not what was meant to be removed")
	}
	if gone, err := s.RemoveOrphans(ctx, two, nil); err != nil || len(gone) != 2 || gone[1].Deleted != one {
		t.Errorf("%v, %v", gone, err)
	}
	if err := s.SetParent(ctx, "x", base.ID); err == nil {
		t.Error("an id that is none")
	}
}
