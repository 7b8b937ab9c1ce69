package image

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/test/rootful"
)

// dockerArchive is what docker save wrote before it wrote OCI layouts.
func dockerArchive(t testing.TB, tags []string, layers ...[]byte) []byte {
	t.Helper()
	return dockerArchiveOf(t, tags, func(l []byte) []byte { return l }, layers...)
}

// compressedLayerArchive is one whose layer is compressed, as buildx writes them.
func compressedLayerArchive(t testing.TB, layer []byte) []byte {
	t.Helper()
	return dockerArchiveOf(t, nil, func(l []byte) []byte { return gzipped(t, l) }, layer)
}

func dockerArchiveOf(t testing.TB, tags []string, stored func(layer []byte) []byte, layers ...[]byte) []byte {
	t.Helper()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	var members []member
	var names []string
	for i, l := range layers {
		name := strings.Repeat(string(rune('a'+i)), 8) + "/layer.tar"
		names = append(names, name)
		members = append(members, file(name, string(stored(l))))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
	}
	members = append(members, file("config.json", marshal(t, config)),
		file("manifest.json", marshal(t, []dockerManifest{{"config.json", tags, names}})))
	return archive(t, members...)
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// layoutArchive is an OCI layout with one image for each platform given, in one
// index when there are several.
func layoutArchive(t testing.TB, name string, layer []byte, platforms ...ocispec.Platform) []byte {
	t.Helper()
	return layoutOf(t, name, func(ocispec.Platform) []byte { return layer }, platforms...)
}

// layoutOf is an OCI layout with one image, whose layer depends on the platform.
func layoutOf(t testing.TB, name string, layerFor func(ocispec.Platform) []byte, platforms ...ocispec.Platform) []byte {
	t.Helper()
	var members []member
	blob := func(mediaType, s string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(s), Size: int64(len(s))}
		members = append(members, file("blobs/sha256/"+d.Digest.Encoded(), s))
		return d
	}
	var manifests []ocispec.Descriptor
	for _, p := range platforms {
		layer := layerFor(p)
		l := blob(ocispec.MediaTypeImageLayer, string(layer))
		c := blob(ocispec.MediaTypeImageConfig, marshal(t, ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}}}))
		m := blob(ocispec.MediaTypeImageManifest, marshal(t, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: c, Layers: []ocispec.Descriptor{l}}))
		m.Platform = &p
		manifests = append(manifests, m)
	}
	top := manifests[0]
	if len(manifests) > 1 {
		top = blob(ocispec.MediaTypeImageIndex, marshal(t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests}))
	}
	top.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	members = append(members, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`),
		file("index.json", marshal(t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{top}})))
	return archive(t, members...)
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var (
	amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ocispec.Platform{OS: "linux", Architecture: "arm64"}
)

func TestLoadForms(t *testing.T) {
	rootful.Check(t)
	base := archive(t, dir("etc"), file("etc/os", "one\n"), file("etc/gone", "x"))
	top := archive(t, file("etc/new", "two\n"), file("etc/.wh.gone", ""))
	for name, tc := range map[string]struct {
		archive []byte
		lines   []string
		layers  int
	}{
		"docker":             {dockerArchive(t, []string{"two:1", "two:2"}, base, top), []string{"Loaded image: two:1", "Loaded image: two:2"}, 2},
		"docker, compressed": {gzipped(t, dockerArchive(t, []string{"two"}, base, top)), []string{"Loaded image: two:latest"}, 2},
		"layout":             {layoutArchive(t, "one:latest", base, amd64), []string{"Loaded image: one:latest"}, 1},
		"layout, no name":    {layoutArchive(t, "latest", base, amd64), []string{"Loaded image ID: sha256:"}, 1},
		"several platforms":  {layoutArchive(t, "many:1", base, arm64, amd64), []string{"Loaded image: many:1"}, 1},
		"foreign":            {layoutArchive(t, "foreign:1", base, arm64), []string{"Loaded image: foreign:1"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{})
			var ids []string
			for range 2 { // the second time changes nothing
				loaded, err := s.Load(t.Context(), bytes.NewReader(tc.archive))
				if err != nil {
					t.Fatal(err)
				}
				if len(loaded) != len(tc.lines) {
					t.Fatalf("loaded %v", loaded)
				}
				for i, l := range loaded {
					if !strings.HasPrefix(l.String(), tc.lines[i]) {
						t.Errorf("%q, want %q", l, tc.lines[i])
					}
					if len(l.Image.Layers) != tc.layers {
						t.Errorf("%d layers, want %d", len(l.Image.Layers), tc.layers)
					}
					ids = append(ids, l.Image.ID)
				}
			}
			for _, id := range ids {
				if id != ids[0] {
					t.Errorf("IDs differ: %v", ids)
				}
			}
		})
	}
}

func TestRealImages(t *testing.T) {
	rootful.Check(t)
	found, _ := filepath.Glob("../../shared/images/*.oci.tar")
	if len(found) == 0 {
		t.Log("no images of others in ../../shared/images; TestLoadForms covers the formats")
	}
	s := open(t, Options{})
	for _, p := range found {
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := s.Load(t.Context(), f)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		im := loaded[0].Image
		if _, err := os.Stat(filepath.Join(im.Layers[0], "bin/sh")); err != nil || im.Config.Config.Cmd[0] != "sh" {
			t.Errorf("%s: %v, %+v", loaded[0], err, im.Config.Config)
		}
		t.Log(loaded[0], im.ID)
	}
}

// A layer that came whole, and is no archive: the image is kept, and told of.
func TestLoadOfWhatCannotRun(t *testing.T) {
	rootful.Check(t)
	s := open(t, Options{})
	loaded, err := s.Load(t.Context(), bytes.NewReader(dockerArchive(t, []string{"x"}, []byte("layer"))))
	if err != nil || len(loaded) != 1 || !strings.Contains(loaded[0].String(), "Loaded image: x:latest (it can be saved and pushed, not run: ") {
		t.Fatalf("%v, %v", loaded, err)
	}
	var saved bytes.Buffer
	if err := s.Save(t.Context(), []string{"x"}, nil, &saved, func(*Image) {}); err != nil || saved.Len() == 0 {
		t.Errorf("saved %d bytes, %v", saved.Len(), err)
	}
	if _, _, err := s.Hold(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "not a tar archive") && !strings.Contains(err.Error(), "truncated") {
		t.Errorf("held: %v", err)
	}
}
