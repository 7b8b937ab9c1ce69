package interop

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/test/engine"
)

// layout writes an image for two platforms as an OCI layout with the tag 1: layers with
// gzip, with zstd and without compression. It returns its folder and the index's digest.
func (b *bench) layout() (dir, index string) {
	b.Helper()
	return b.layoutWith(ocispec.MediaTypeImageLayerZstd, zstded)
}

// layoutWith is layout with another compression of the second layer.
func (b *bench) layoutWith(mediaType string, compress func([]byte) []byte) (dir, index string) {
	b.Helper()
	dir = filepath.Join(b.dir, "layout")
	blobs := filepath.Join(dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		b.Fatal(err)
	}
	put := func(mediaType string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		if err := os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), content, 0o644); err != nil {
			b.Fatal(err)
		}
		return d
	}
	putJSON := func(mediaType string, v any) ocispec.Descriptor {
		text, err := json.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		return put(mediaType, text)
	}
	busybox := engine.Busybox(b.T)
	var manifests []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		own, last := b.file("arch", arch), b.file("last", "layer of "+arch)
		layers := []ocispec.Descriptor{
			put(ocispec.MediaTypeImageLayerGzip, gzipped(busybox)),
			put(mediaType, compress(own)),
			put(ocispec.MediaTypeImageLayer, last),
		}
		config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch},
			Config: ocispec.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}},
			RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(busybox), digest.FromBytes(own), digest.FromBytes(last)}}}
		m := putJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: putJSON(ocispec.MediaTypeImageConfig, config), Layers: layers})
		m.Platform = &config.Platform
		manifests = append(manifests, m)
	}
	top := putJSON(ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests})
	top.Annotations = map[string]string{ocispec.AnnotationRefName: "1"}
	own, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{top}})
	if err != nil {
		b.Fatal(err)
	}
	for name, content := range map[string][]byte{"index.json": own, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir, top.Digest.String()
}

// file is an archive with one file.
func (b *bench) file(name, content string) []byte {
	b.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		b.Fatal(err)
	}
	w.Write([]byte(content))
	w.Close()
	return out.Bytes()
}

func gzipped(content []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(content)
	w.Close()
	return out.Bytes()
}

func zstded(content []byte) []byte {
	w, _ := zstd.NewWriter(nil) // cannot fail without options
	return w.EncodeAll(content, nil)
}
