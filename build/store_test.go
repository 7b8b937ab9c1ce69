package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"hoy/image"
	"hoy/test/rootful"
)

// TestStoreKeepsCache has the image store know what the build cache has: while it is
// used by nobody else, after a restart, and once its records are gone.
func TestStoreKeepsCache(t *testing.T) {
	if dir := os.Getenv("HOY_BUILD_IN"); dir != "" { // an engine of its own: BuildKit keeps some of its state in the process
		h := &bench{t: t, dir: dir}
		h.open()
		defer h.close()
		h.busybox()
		if _, err := h.build(t.Context(), "FROM busybox\nRUN echo content > /f\n", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Remove(t.Context(), "built", false, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	rootful.Check(t)
	h := &bench{t: t, dir: t.TempDir()}
	c := exec.Command(os.Args[0], "-test.run=^TestStoreKeepsCache$")
	c.Env = append(os.Environ(), "HOY_BUILD_IN="+h.dir, "HOY_BUILD_KEEPER="+keeperProgram(t))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.open()
	if blobs, layers := h.cacheParts(); blobs == 0 || layers == 0 {
		t.Errorf("the cache has %d blobs and %d layers", blobs, layers)
	}
	if dirs, _ := filepath.Glob(filepath.Join(h.dir, "image/overlay/snapshots/*/fs/f")); len(dirs) != 1 {
		t.Errorf("the step's file is in %q", dirs)
	}
	h.close()
	if err := os.RemoveAll(filepath.Join(h.dir, "build")); err != nil {
		t.Fatal(err)
	}
	h.open()
	defer h.close()
	if _, err := h.b.control(t.Context()); err != nil {
		t.Fatal(err)
	}
	if blobs, layers := h.cacheParts(); blobs != 0 || layers != 0 {
		t.Errorf("the cache has no records, but %d blobs and %d layers", blobs, layers)
	}
	im, err := h.store.Get(t.Context(), "busybox")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(im.Layers[0], "bin/busybox")); err != nil {
		t.Errorf("an image has lost its layer with the cache: %v", err)
	}
}

// cacheParts counts what only the cache needs.
func (h *bench) cacheParts() (blobs, layers int) {
	h.t.Helper()
	p, err := h.store.Places(h.t.Context(), func(string) bool { return false })
	if err != nil {
		h.t.Fatal(err)
	}
	for _, by := range p.Blobs {
		if by == image.HeldByCache {
			blobs++
		}
	}
	for _, by := range p.Layers {
		if by == image.HeldByCache {
			layers++
		}
	}
	return blobs, layers
}
