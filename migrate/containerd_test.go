package migrate

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
)

// fakeStore writes the files of a containerd's store as containerd 2 lays them out.
type fakeStore struct {
	t    *testing.T
	root string
}

func (f fakeStore) blob(mediaType string, v any) ocispec.Descriptor {
	f.t.Helper()
	b, isBytes := v.([]byte)
	if !isBytes {
		var err error
		if b, err = json.Marshal(v); err != nil {
			f.t.Fatal(err)
		}
	}
	d := digest.FromBytes(b)
	f.write("io.containerd.content.v1.content/blobs/sha256/"+d.Encoded(), b)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

func (f fakeStore) write(name string, b []byte) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f fakeStore) db(name string, path []string, key, value []byte) {
	f.t.Helper()
	f.write(name, nil)
	os.Remove(filepath.Join(f.root, name))
	db, err := bbolt.Open(filepath.Join(f.root, name), 0o600, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte(path[0]))
		for _, p := range path[1:] {
			if err != nil {
				return err
			}
			b, err = b.CreateBucket([]byte(p))
		}
		if err != nil {
			return err
		}
		return b.Put(key, value)
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestContainerdStore: an image for two platforms, of which one was pulled, becomes a
// layout with what there is.
func TestContainerdStore(t *testing.T) {
	f := fakeStore{t, t.TempDir()}
	layer := f.blob(ocispec.MediaTypeImageLayer, []byte("layer"))
	config := f.blob(ocispec.MediaTypeImageConfig, ocispec.Image{})
	manifest := f.blob(ocispec.MediaTypeImageManifest, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}})
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 6}
	index := f.blob(ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{manifest, absent}})
	const name = "docker.io/library/two:1"
	f.db("io.containerd.metadata.v1.bolt/meta.db", []string{"v1", "moby", "images", name, "target"}, []byte("digest"), []byte(index.Digest))
	f.db("io.containerd.snapshotter.v1.overlayfs/metadata.db", []string{"v1", "snapshots", "moby/12/c1"}, []byte("id"), binary.AppendUvarint(nil, 300))

	s := &containerdStore{root: f.root}
	names, err := s.list()
	if err != nil || names[name] != index.Digest.String() || len(names) != 1 {
		t.Fatalf("names %v, %v", names, err)
	}
	if dir, err := s.layer("c1"); err != nil || dir != filepath.Join(f.root, "io.containerd.snapshotter.v1.overlayfs/snapshots/300/fs") {
		t.Errorf("layer %s, %v", dir, err)
	}
	if _, err := s.layer("c2"); err == nil {
		t.Error("the layer of a container that there is not: no error")
	}
	var b bytes.Buffer
	if err := s.archive(&b, names, []string{index.Digest.String()}); err != nil {
		t.Fatal(err)
	}
	var members []string
	var top ocispec.Index
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, h.Name)
		if h.Name == "index.json" {
			if err := json.NewDecoder(r).Decode(&top); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, d := range []ocispec.Descriptor{layer, config, manifest, index} {
		if !slices.Contains(members, "blobs/sha256/"+d.Digest.Encoded()) {
			t.Errorf("the archive lacks %s %s", d.MediaType, d.Digest)
		}
	}
	if len(top.Manifests) != 1 || top.Manifests[0].Digest != index.Digest || top.Manifests[0].MediaType != ocispec.MediaTypeImageIndex ||
		top.Manifests[0].Annotations[images.AnnotationImageName] != name {
		t.Errorf("index.json %+v", top)
	}
	if err := s.archive(io.Discard, nil, []string{absent.Digest.String()}); err == nil {
		t.Error("an image that is not there: no error")
	}
}
