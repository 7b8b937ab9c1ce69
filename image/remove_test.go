package image

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoy/lib/fault"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// put loads a small image with these names; equal content gives equal images.
func put(t *testing.T, s *Store, content string, tags ...string) *Image {
	t.Helper()
	l, err := s.Load(t.Context(), bytes.NewReader(dockerArchive(t, tags, archive(t, file("content", content)))))
	if err != nil {
		t.Fatal(err)
	}
	return l[len(l)-1].Image
}

func gone(path string) func() bool {
	return func() bool { _, err := os.Lstat(path); return os.IsNotExist(err) }
}

func TestRemove(t *testing.T) {
	rootful.Check(t)
	stopped := []User{{"cccccccccccccccc", false}}
	running := []User{{"dddddddddddddddd", true}}
	const id = "ID" // stands for the image's ID
	for _, tc := range []struct {
		name  string
		tags  []string
		ref   string
		force bool
		users []User
		want  string // responses, or the error's text
		left  []string
	}{
		{"last name", []string{"a:1"}, "a:1", false, nil, "untagged a:1, deleted ID", nil},
		{"one of two", []string{"a:1", "b:1"}, "a:1", false, nil, "untagged a:1", []string{"b:1"}},
		{"id", []string{"a:1"}, id, false, nil, "untagged a:1, deleted ID", nil},
		{"id of two", []string{"a:1", "b:1"}, id, false, nil, "(must be forced) - image is referenced in multiple repositories", []string{"a:1", "b:1"}},
		{"id of two, forced", []string{"a:1", "b:1"}, id, true, nil, "untagged a:1, untagged b:1, deleted ID", nil},
		{"dangling", nil, id, false, nil, "deleted ID", nil},
		{"name, stopped", []string{"a:1"}, "a:1", false, stopped, "unable to delete a:1 (must be forced) - container cccccccccccc is using its referenced image", []string{"a:1"}},
		{"name, running, forced", []string{"a:1"}, "a:1", true, running, "untagged a:1", []string{}},
		{"id, stopped", []string{"a:1"}, id, false, stopped, "(must be forced) - image is being used by stopped container cccccccccccc", []string{"a:1"}},
		{"id, stopped, forced", []string{"a:1"}, id, true, stopped, "untagged a:1, deleted ID", nil},
		{"id, running, forced", []string{"a:1"}, id, true, running, "(cannot be forced) - image is being used by running container dddddddddddd", []string{"a:1"}},
		{"missing", []string{"a:1"}, "nobody", false, nil, "No such image: nobody:latest", []string{"a:1"}},
		{"missing id", []string{"a:1"}, "sha256:" + strings.Repeat("0", 64), false, nil, "No such image: sha256:000", []string{"a:1"}},
		{"bad name", []string{"a:1"}, "UPPER", false, nil, "must be lowercase", []string{"a:1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t, Options{})
			im := put(t, s, "x", tc.tags...)
			ref := strings.ReplaceAll(tc.ref, id, im.ID)
			res, err := s.Remove(t.Context(), ref, tc.force, func(string) []User { return tc.users })
			var got []string
			for _, r := range res {
				if r.Untagged != "" {
					got = append(got, "untagged "+r.Untagged)
				}
				if r.Deleted != "" {
					got = append(got, "deleted "+strings.ReplaceAll(r.Deleted, im.ID, id))
				}
			}
			text := strings.Join(got, ", ")
			if err != nil {
				text = err.Error()
			}
			if err == nil && text != tc.want || !strings.Contains(text, tc.want) {
				t.Errorf("got %q, want %q", text, tc.want)
			}
			all, _ := s.List(t.Context())
			if (tc.left == nil) != (len(all) == 0) {
				t.Fatalf("%d images left", len(all))
			}
			if len(all) > 0 && !slices.Equal(all[0].RepoTags, tc.left) && len(tc.left) > 0 {
				t.Errorf("left %q, want %q", all[0].RepoTags, tc.left)
			}
			if len(all) == 0 {
				eventually.True(t, "the layer is gone", gone(filepath.Dir(im.Layers[0])))
			}
		})
	}
}

// What a container's record names, or a caller holds, outlives its image.
func TestPinnedLayersStay(t *testing.T) {
	rootful.Check(t)
	pinned := make(chan []string, 1)
	pinned <- nil
	s := openPinned(t, Options{}, func() ([]string, bool) { p := <-pinned; pinned <- p; return p, true })
	kept, held, other := put(t, s, "kept", "kept"), put(t, s, "held", "held"), put(t, s, "other", "other")
	<-pinned
	pinned <- []string{kept.ChainID}
	_, release, err := s.Hold(t.Context(), "held", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"kept", "held", "other"} {
		if _, err := s.Remove(t.Context(), r, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually.True(t, "the third is gone", gone(filepath.Dir(other.Layers[0])))
	for _, im := range []*Image{kept, held} {
		if _, err := os.Stat(filepath.Join(im.Layers[0], "content")); err != nil {
			t.Error(err)
		}
	}
	release()
	s.collectSoon()
	eventually.True(t, "the held one is gone", gone(filepath.Dir(held.Layers[0])))
	if _, err := os.Stat(filepath.Join(kept.Layers[0], "content")); err != nil {
		t.Error(err)
	}
}

func TestNamesMove(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	one, two := put(t, s, "one", "app"), put(t, s, "two", "app")
	if got, err := s.Get(t.Context(), "app"); err != nil || got.ID != two.ID {
		t.Errorf("app is %v, %v", got, err)
	}
	if got, err := s.Get(t.Context(), one.ID); err != nil || len(got.RepoTags) != 0 {
		t.Errorf("the first image: %+v, %v", got, err)
	}
	if err := s.Tag(t.Context(), one.ID[7:20], "old:1"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "old:1"); err != nil || got.ID != one.ID {
		t.Errorf("old:1 is %v, %v", got, err)
	}
	for ref, kind := range map[string]fault.Kind{"x@" + one.ID: fault.Invalid, "BAD": fault.Invalid} {
		if err := s.Tag(t.Context(), "app", ref); fault.KindOf(err) != kind {
			t.Errorf("tag %s: %v", ref, err)
		}
	}
}

// A store opened again knows what it knew, and no more.
func TestReopen(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	s, err := Open(t.Context(), Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	im := put(t, s, "x", "app:1")
	ctx, _, err := s.lease(t.Context()) // as a process that dies in the middle of a load
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.putBytes(ctx, "text/plain", []byte("half-made"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if w, err := s.newBlob(ctx); err != nil {
		t.Fatal(err)
	} else if _, err := w.Write([]byte("unfinished")); err != nil {
		t.Fatal(err)
	} else {
		w.Close()
	}
	if _, err := s.newStage(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Root: root})
	got, err := s.Get(t.Context(), "app:1")
	if err != nil || got.ID != im.ID || !slices.Equal(got.Layers, im.Layers) {
		t.Errorf("%+v, %v", got, err)
	}
	eventually.True(t, "the half-made blob is gone", gone(filepath.Join(root, "content/blobs/sha256", left.Digest.Encoded())))
	for _, d := range []string{"staging", "content/ingest"} {
		if es, err := os.ReadDir(filepath.Join(root, d)); err != nil || len(es) > 0 {
			t.Errorf("%s: %d entries, %v", d, len(es), err)
		}
	}
}
