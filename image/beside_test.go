package image

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

// TestTagBesideRemove: an image that is removed while it gets another name is gone, and
// has no name either.
func TestTagBesideRemove(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	im := put(t, s, "x", "a:1")
	ctx := namespaced(t.Context())
	s.mu.Lock()
	tagged := make(chan error, 1)
	go func() { tagged <- s.Tag(t.Context(), "a:1", "b:1") }()
	time.Sleep(50 * time.Millisecond) // it has found the image by then, or is told that there is none
	r, err := s.removal("a:1", false, nil)
	if err == nil {
		_, err = s.carryOut(ctx, r)
	}
	if err == nil {
		err = s.refresh(ctx)
	}
	if err == nil {
		_, err = s.collectNow(ctx)
	}
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-tagged; !fault.Is(err, fault.NotFound) {
		t.Errorf("tag: %v", err)
	}
	if got, err := s.Get(ctx, "b:1"); err == nil {
		t.Errorf("a name of what is not here: %+v, of %s", got, im.ID)
	}
}

// TestCommitBesideRemove: an image that is committed on another one is whole, though that
// one is removed meanwhile.
func TestCommitBesideRemove(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	base := put(t, s, "x", "a:1")
	ctx := namespaced(t.Context())
	defer s.hold(base.ChainID)() // a container's record does
	im, err := s.Commit(ctx, CommitOptions{Ref: "b:1", Parent: base.ID, Manifest: &base.Manifest, Layer: func(ctx context.Context, w io.Writer) error {
		if _, err := s.Remove(ctx, "a:1", true, nil); err != nil {
			return err
		}
		if _, err := s.collectNow(ctx); err != nil {
			return err
		}
		_, err := w.Write(archive(t, file("new", "y")))
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range im.blobs {
		if _, err := s.content.Info(ctx, b.Digest); err != nil {
			t.Errorf("layer %s: %v", b.Digest, err)
		}
	}
}

// TestParentStays with an image that loses its name, by force or to another image, and
// with one that gets it back.
func TestParentStays(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	ctx := t.Context()
	base := put(t, s, "x", "base:1")
	commit := func(by string) *Image {
		t.Helper()
		im, err := s.Commit(ctx, CommitOptions{Ref: "a:1", Parent: base.ID, Manifest: &base.Manifest, CreatedBy: by})
		if err != nil {
			t.Fatal(err)
		}
		return im
	}
	is := func(ref, when string) {
		t.Helper()
		if im, err := s.Get(ctx, ref); err != nil || im.Parent != base.ID {
			t.Errorf("%s: %+v, %v", when, im, err)
		}
	}
	one := commit("one")
	two := commit("two")
	is(one.ID, "its name is another one's")
	if _, err := s.Remove(ctx, "a:1", true, func(string) []User { return []User{{"c", true}} }); err != nil {
		t.Fatal(err)
	}
	is(two.ID, "its name was taken away")
	var saved bytes.Buffer
	if err := s.Save(ctx, []string{two.ID}, nil, &saved, func(*Image) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(ctx, &saved); err != nil {
		t.Fatal(err)
	}
	is(two.ID, "it was loaded again")
	if err := s.Tag(ctx, two.ID, "b:1"); err != nil {
		t.Fatal(err)
	}
	is("b:1", "it has a name again")
}
