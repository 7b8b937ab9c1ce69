package migrate

import (
	"archive/tar"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"hoy/lib/fault"
)

// containerdStore is the store of a containerd, in whose namespace moby Docker's images
// are:
//
//	io.containerd.metadata.v1.bolt/meta.db                 names
//	io.containerd.content.v1.content/blobs/sha256/         blobs
//	io.containerd.snapshotter.v1.overlayfs/metadata.db     which number a snapshot has
//	io.containerd.snapshotter.v1.overlayfs/snapshots/<n>/fs
type containerdStore struct{ root string }

const dockerNamespace = "moby"

func (c *containerdStore) list() (map[string]string, error) {
	names := map[string]string{}
	err := readDB(filepath.Join(c.root, "io.containerd.metadata.v1.bolt", "meta.db"), func(tx *bbolt.Tx) error {
		b := bucket(tx, "v1", dockerNamespace, "images")
		if b == nil {
			return nil
		}
		return b.ForEachBucket(func(name []byte) error {
			target := b.Bucket(name).Bucket([]byte("target"))
			if target != nil && !strings.Contains(string(name), "@") {
				names[string(name)] = string(target.Get([]byte("digest")))
			}
			return nil
		})
	})
	return names, err
}

func bucket(tx *bbolt.Tx, path ...string) *bbolt.Bucket {
	b := tx.Bucket([]byte(path[0]))
	for _, p := range path[1:] {
		if b == nil {
			return nil
		}
		b = b.Bucket([]byte(p))
	}
	return b
}

func (c *containerdStore) layer(containerID string) (string, error) {
	dir := filepath.Join(c.root, "io.containerd.snapshotter.v1.overlayfs")
	number := uint64(0)
	err := readDB(filepath.Join(dir, "metadata.db"), func(tx *bbolt.Tx) error {
		b := bucket(tx, "v1", "snapshots")
		if b == nil {
			return nil
		}
		return b.ForEachBucket(func(key []byte) error {
			if strings.HasPrefix(string(key), dockerNamespace+"/") && strings.HasSuffix(string(key), "/"+containerID) {
				number, _ = binary.Uvarint(b.Bucket(key).Get([]byte("id")))
			}
			return nil
		})
	})
	if err == nil && number == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", fmt.Errorf("cannot find its files: %w", err)
	}
	return filepath.Join(dir, "snapshots", fmt.Sprint(number), "fs"), nil
}

func (c *containerdStore) blob(d digest.Digest) (*os.File, error) {
	if err := d.Validate(); err != nil {
		return nil, fault.New(fault.Invalid, "%q: %w", d, err)
	}
	return os.Open(filepath.Join(c.root, "io.containerd.content.v1.content", "blobs", d.Algorithm().String(), d.Encoded()))
}

// archive writes an OCI image layout, with as many platforms as there are blobs of.
func (c *containerdStore) archive(w io.Writer, names map[string]string, ids []string) error {
	tw := tar.NewWriter(w)
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err == nil {
		err = member(tw, ocispec.ImageLayoutFile, layout)
	}
	if err != nil {
		return err
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	written := map[digest.Digest]bool{}
	for _, id := range ids {
		top, err := c.writeTree(tw, digest.Digest(id), written, 0)
		if err != nil {
			return err
		}
		list := slices.Sorted(maps.Keys(names))
		if len(list) == 0 {
			index.Manifests = append(index.Manifests, top)
		}
		for _, name := range list {
			d := top
			d.Annotations = map[string]string{images.AnnotationImageName: name}
			index.Manifests = append(index.Manifests, d)
		}
	}
	b, err := json.Marshal(index)
	if err == nil {
		err = member(tw, ocispec.ImageIndexFile, b)
	}
	return errors.Join(err, tw.Close())
}

// Bounds of what is looked into for children.
const (
	maxDepth    = 4
	maxManifest = 4 << 20 // bytes
)

// writeTree writes a blob and what it refers to. What refers to a missing blob of
// another platform stays without it.
func (c *containerdStore) writeTree(tw *tar.Writer, d digest.Digest, written map[digest.Digest]bool, depth int) (ocispec.Descriptor, error) {
	f, err := c.blob(d)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{Digest: d, Size: fi.Size()}
	if written[d] {
		return desc, nil
	}
	written[d] = true
	if err := tw.WriteHeader(&tar.Header{Name: "blobs/" + d.Algorithm().String() + "/" + d.Encoded(), Mode: 0o444, Size: fi.Size()}); err != nil {
		return desc, err
	}
	if depth > maxDepth || fi.Size() > maxManifest {
		_, err := io.Copy(tw, f)
		return desc, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return desc, err
	}
	if _, err := tw.Write(b); err != nil {
		return desc, err
	}
	return c.writeChildren(tw, desc, b, written, depth)
}

func (c *containerdStore) writeChildren(tw *tar.Writer, desc ocispec.Descriptor, b []byte, written map[digest.Digest]bool, depth int) (ocispec.Descriptor, error) {
	var m struct {
		MediaType string
		Manifests []ocispec.Descriptor
		Config    ocispec.Descriptor
		Layers    []ocispec.Descriptor
	}
	if json.Unmarshal(b, &m) != nil || !images.IsManifestType(m.MediaType) && !images.IsIndexType(m.MediaType) {
		return desc, nil
	}
	desc.MediaType = m.MediaType
	children := m.Manifests
	if images.IsManifestType(m.MediaType) {
		children = append([]ocispec.Descriptor{m.Config}, m.Layers...)
	}
	for _, child := range children {
		_, err := c.writeTree(tw, child.Digest, written, depth+1)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return desc, err
		}
	}
	return desc, nil
}
