package build

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestResultIsNotUnpacked builds an image whose layers are the very directories that its
// steps have written.
func TestResultIsNotUnpacked(t *testing.T) {
	h := newBench(t)
	h.busybox()
	if _, err := h.build(t.Context(), "FROM busybox\nRUN echo one > /one\nRUN rm /one && mkdir /two && rm -r /home\nRUN true\nCOPY a /a\n", map[string]string{"a": "three"}); err != nil {
		t.Fatal(err)
	}
	im, err := h.store.Get(context.Background(), "built")
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Layers) != 5 {
		t.Fatalf("%d layers are unpacked of 5: %v", len(im.Layers), im.Layers)
	}
	if b, err := os.ReadFile(filepath.Join(im.Layers[0], "a")); err != nil || string(b) != "three" {
		t.Errorf("the top layer has %q, %v", b, err)
	}
	dirs, err := filepath.Glob(filepath.Join(h.dir, "image/overlay/snapshots/*"))
	if err != nil {
		t.Fatal(err)
	}
	// The layers, and the copy of the context and the Dockerfile.
	if len(dirs) > 7 {
		t.Errorf("there are %d snapshots", len(dirs))
	}
}
