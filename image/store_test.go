package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image/confine"
	"hoy/test/rootful"
)

// member is a tar member in short.
type member struct {
	tar.Header
	body string
}

func file(name, body string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}

func dir(name string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		m.Size = int64(len(m.body))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	return openPinned(t, o, nil)
}

// unpacker is one whose children are this program: see TestMain.
func unpacker(t testing.TB) *confine.Unpacker {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u, err := confine.New(exe, "unpack")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

func openPinned(t testing.TB, o Options, pinned func() ([]string, bool)) *Store {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	o.Unpacker = unpacker(t)
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Collect(pinned)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestImport(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	im, err := s.Import(t.Context(), bytes.NewReader(archive(t, dir("etc"), file("etc/motd", "hello\n"))), ImportOptions{
		Ref: "base", Message: "made by hand", Changes: []string{"CMD [\"sh\"]", "ENV A=1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Layers) != 1 || im.RepoTags[0] != "base:latest" || im.Config.History[0].Comment != "made by hand" {
		t.Errorf("%+v", im)
	}
	b, err := os.ReadFile(filepath.Join(im.Layers[0], "etc/motd"))
	if err != nil || string(b) != "hello\n" {
		t.Errorf("etc/motd: %q, %v", b, err)
	}
	for _, ref := range []string{"base", "base:latest", "docker.io/library/base", im.ID, im.ID[7:], im.ID[7:19], "base@" + im.ID} {
		if got, err := s.Get(t.Context(), ref); err != nil || got.ID != im.ID {
			t.Errorf("%s: %v, %v", ref, got, err)
		}
	}
}

// TestImportedBlobs: a layer is never stored plain, since those built on it are not either.
func TestImportedBlobs(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	plain := archive(t, dir("etc"), file("etc/motd", "hello\n"))
	var zipped, zstandard bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(plain)
	z.Close()
	zs, err := zstd.NewWriter(&zstandard)
	if err != nil {
		t.Fatal(err)
	}
	zs.Write(plain)
	zs.Close()
	for sent, want := range map[string]string{
		string(plain): ocispec.MediaTypeImageLayerGzip, zipped.String(): ocispec.MediaTypeImageLayerGzip, zstandard.String(): ocispec.MediaTypeImageLayerZstd,
	} {
		im, err := s.Import(t.Context(), strings.NewReader(sent), ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := im.blobs[0].MediaType; got != want {
			t.Errorf("%.4q is stored as %s; want %s", sent, got, want)
		}
		if got := im.Config.RootFS.DiffIDs[0]; got != digest.FromBytes(plain) {
			t.Errorf("%.4q: %s", sent, got)
		}
	}
}

// TestOpenAfterTheFirstLayer opens a store whose process was killed while it made the first
// layer of all: there is a directory, and no list of layers yet.
func TestOpenAfterTheFirstLayer(t *testing.T) {
	root := t.TempDir()
	begun := filepath.Join(root, "overlay/snapshots/new-1")
	if err := os.MkdirAll(begun, 0o700); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Root: root})
	if _, err := os.Stat(begun); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the layer that was begun is still there: %v", err)
	}
}
