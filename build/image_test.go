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
	for _, name := range []string{"one", "two"} {
		if dirs, err := filepath.Glob(filepath.Join(h.dir, "image/overlay/snapshots/*/fs", name)); err != nil || len(dirs) > 2 {
			t.Errorf("/%s is in %q, %v", name, dirs, err) // where it was made, and where removed
		}
	}
	for _, dir := range im.Layers[:4] { // nor is there anything on which the engine has mounted
		if stubs, err := filepath.Glob(filepath.Join(dir, "etc/*")); err != nil || len(stubs) > 0 {
			t.Errorf("a step has made %q, %v", stubs, err)
		}
	}
}
