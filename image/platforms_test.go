package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// configs counts the blobs of an archive that are configurations of a platform.
func configs(t *testing.T, b []byte) map[string]int {
	t.Helper()
	n := map[string]int{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(h.Name, "blobs/") || h.Size > 4096 {
			continue
		}
		c, _ := io.ReadAll(r)
		for _, arch := range []string{"amd64", "arm64"} {
			if strings.Contains(string(c), `"rootfs"`) && strings.Contains(string(c), arch) {
				n[arch]++
			}
		}
	}
}

// Layers of another platform are unpacked when somebody wants to run it.
func TestHoldOtherPlatform(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	b := layoutOf(t, "many:1", func(p ocispec.Platform) []byte { return archive(t, file("arch", p.Architecture)) }, arm64, amd64)
	if _, err := s.Load(t.Context(), bytes.NewReader(b), amd64); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		im, release, err := s.Hold(t.Context(), "many:1", &arm64)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(im.Layers[0], "arch")); string(got) != "arm64" || im.RepoTags[0] != "many:1" {
			t.Errorf("%q, %v of %+v", got, err, im)
		}
		release()
	}
	if im, err := s.Get(t.Context(), "many:1"); err != nil || im.Config.Architecture != "amd64" {
		t.Errorf("%+v, %v", im, err)
	}
	windows := ocispec.Platform{OS: "windows", Architecture: "amd64"}
	if _, _, err := s.Hold(t.Context(), "many", &windows); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	_, _, err := s.Hold(t.Context(), "many:1", &windows)
	if want := "image with reference many:1 was found but does not provide the specified platform (windows/amd64)"; !fault.Is(err, fault.NotFound) || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// TestHoldOtherBesideRemoval: an image that is removed just before its layers are held is not there.
func TestHoldOtherBesideRemoval(t *testing.T) {
	rootful.Check(t)
	// Nothing is collected, for which holds would be asked for.
	s := openPinned(t, Options{}, func() ([]string, bool) { return nil, false })
	b := layoutOf(t, "many:1", func(p ocispec.Platform) []byte { return archive(t, file("arch", p.Architecture)) }, arm64, amd64)
	if _, err := s.Load(t.Context(), bytes.NewReader(b), arm64, amd64); err != nil {
		t.Fatal(err)
	}
	s.holdMu.Lock()
	held := make(chan error)
	go func() {
		_, _, err := s.Hold(t.Context(), "many:1", &arm64)
		held <- err
	}()
	stacks := make([]byte, 1<<20)
	eventually.True(t, "the image is found", func() bool {
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("image.(*Store).hold("))
	})
	_, err := s.Remove(t.Context(), "many:1", false, func(string) []User { return nil })
	s.holdMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-held; !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

// One image for two platforms: each is described, saved and removed by itself.
func TestPlatforms(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	layer := archive(t, file("f", strings.Repeat("x", 10_000)))
	load := func() *Image {
		l, err := s.Load(t.Context(), bytes.NewReader(layoutArchive(t, "many:1", layer, arm64, amd64)))
		if err != nil {
			t.Fatal(err)
		}
		return l[0].Image
	}
	im := load()
	m, err := s.Manifests(t.Context(), im)
	if err != nil || len(m) != 2 || !m[0].Available || m[0].ImageData.Platform.Architecture != "arm64" || m[1].ImageData.Size.Unpacked == 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	for want, wanted := range map[string][]ocispec.Platform{"amd64 arm64": nil, "arm64": {arm64}, "amd64": {amd64}} {
		var b bytes.Buffer
		if err := s.Save(t.Context(), []string{"many:1"}, wanted, &b, func(*Image) {}); err != nil {
			t.Fatal(err)
		}
		n := configs(t, b.Bytes())
		if n["amd64"] != strings.Count(want, "amd64") || n["arm64"] != strings.Count(want, "arm64") {
			t.Errorf("saved for %v: %v", wanted, n)
		}
	}
	if got, err := s.GetPlatform(t.Context(), "many:1", &arm64); err != nil || got.Config.Architecture != "arm64" {
		t.Errorf("%+v, %v", got, err)
	}
	none := func(string) []User { return nil }
	for _, tc := range []struct {
		wanted ocispec.Platform
		users  []User
		kind   fault.Kind
	}{
		{ocispec.Platform{OS: "linux", Architecture: "s390x"}, nil, fault.NotFound},
		{amd64, []User{{"c", false}}, fault.Conflict},
	} {
		if _, err := s.RemovePlatforms(t.Context(), "many:1", []ocispec.Platform{tc.wanted}, false, func(string) []User { return tc.users }); fault.KindOf(err) != tc.kind {
			t.Errorf("%v: %v", tc.wanted, err)
		}
	}
	gone, err := s.RemovePlatforms(t.Context(), "many:1", []ocispec.Platform{amd64}, false, none)
	if err != nil || len(gone) != 1 || gone[0].Deleted != m[1].ID {
		t.Errorf("%+v, %v", gone, err)
	}
	left, err := s.Get(t.Context(), "many:1")
	if err != nil || left.Config.Architecture != "arm64" || left.ID != im.ID {
		t.Errorf("left: %+v, %v", left, err)
	}
	if m, err = s.Manifests(t.Context(), left); err != nil || m[1].Available || !m[0].Available {
		t.Errorf("%+v, %v", m, err)
	}
	if again := load(); again.Config.Architecture != "amd64" || again.ID != im.ID {
		t.Errorf("loaded again: %+v", again)
	}
}

// TestRemovePlatformsUnderLease takes a platform away while somebody has leased it: its
// manifest as a pull that has found it here, or only a layer, as the cache of builds has.
func TestRemovePlatformsUnderLease(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	layers := map[string][]byte{"amd64": archive(t, file("a", "1")), "arm64": archive(t, file("a", "2"))}
	b := layoutOf(t, "many:1", func(p ocispec.Platform) []byte { return layers[p.Architecture] }, amd64, arm64)
	if _, err := s.Load(t.Context(), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	ctx := namespaced(t.Context())
	im, err := s.GetPlatform(ctx, "many:1", &arm64)
	if err != nil {
		t.Fatal(err)
	}
	remove := func() error {
		_, err := s.RemovePlatforms(t.Context(), "many:1", []ocispec.Platform{arm64}, false, func(string) []User { return nil })
		return err
	}
	here := func(d digest.Digest) bool {
		_, err := s.content.Info(ctx, d)
		return err == nil
	}
	manifest, layer := im.Manifest.Digest, im.blobs[0].Digest

	leased, done, err := s.lease(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := s.haveBlob(leased, im.Target.Digest); !have || err != nil { // the index, and so all below it
		t.Fatal(have, err)
	}
	if err := remove(); fault.KindOf(err) != fault.Conflict || !here(manifest) || !here(layer) {
		t.Errorf("under a lease of the image: %v, manifest %v, layer %v", err, here(manifest), here(layer))
	}
	done()

	leased, done, err = s.lease(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := s.haveBlob(leased, layer); !have || err != nil {
		t.Fatal(have, err)
	}
	if err := remove(); err != nil || here(manifest) || !here(layer) {
		t.Errorf("under a lease of its layer: %v, manifest %v, layer %v", err, here(manifest), here(layer))
	}
	done()
	for _, d := range []digest.Digest{manifest, layer} { // by collections behind it
		eventually.True(t, "the file is gone", func() bool {
			_, err := os.Stat(filepath.Join(s.o.Root, "content/blobs/sha256", d.Encoded()))
			return os.IsNotExist(err)
		})
	}
}
