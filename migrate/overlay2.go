package migrate

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"hoy/lib/fault"
)

// overlay2 is Docker's own store of images:
//
//	image/overlay2/repositories.json                    names
//	image/overlay2/imagedb/content/sha256/<id>          configurations
//	image/overlay2/layerdb/sha256/<chain>/cache-id      where a layer's files are
//	image/overlay2/layerdb/sha256/<chain>/tar-split.json.gz   what a tar has beside them
//	image/overlay2/layerdb/mounts/<container>/mount-id  where a writable layer is
//	overlay2/<cache-id>/diff                            files
type overlay2 struct{ root string }

func (o *overlay2) image(elem ...string) string {
	return filepath.Join(append([]string{o.root, "image", "overlay2"}, elem...)...)
}

func (o *overlay2) list() (map[string]string, error) {
	var r struct{ Repositories map[string]map[string]string }
	if err := readJSON(o.image("repositories.json"), &r); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, repository := range r.Repositories {
		for name, id := range repository {
			if !strings.Contains(name, "@") {
				names[name] = id
			}
		}
	}
	return names, nil
}

func (o *overlay2) layer(containerID string) (string, error) {
	b, err := os.ReadFile(o.image("layerdb", "mounts", containerID, "mount-id"))
	if err != nil {
		return "", fmt.Errorf("cannot find its files: %w", err)
	}
	return o.diff(string(b))
}

func (o *overlay2) diff(id string) (string, error) {
	id = strings.TrimSpace(id)
	if id == "" || id != filepath.Base(id) {
		return "", fault.New(fault.Invalid, "%q is no name of a layer", id)
	}
	return filepath.Join(o.root, "overlay2", id, "diff"), nil
}

// archive writes what docker save does: the layers are bit for bit what was pulled.
func (o *overlay2) archive(w io.Writer, names map[string]string, ids []string) error {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	tw := tar.NewWriter(w)
	var manifest []entry
	for _, id := range ids {
		_, hex, ok := strings.Cut(id, ":")
		if !ok || digest.Digest(id).Validate() != nil {
			return fault.New(fault.Invalid, "%q is no image id", id)
		}
		config, err := os.ReadFile(o.image("imagedb", "content", "sha256", hex))
		if err != nil {
			return fmt.Errorf("cannot find the image: %w", err)
		}
		var img ocispec.Image
		if err := json.Unmarshal(config, &img); err != nil {
			return fmt.Errorf("cannot read the image's configuration: %w", err)
		}
		e := entry{Config: hex + ".json", RepoTags: slices.Sorted(maps.Keys(names))}
		if err := member(tw, e.Config, config); err != nil {
			return err
		}
		for i := range img.RootFS.DiffIDs {
			name := img.RootFS.DiffIDs[i].Encoded() + "/layer.tar"
			e.Layers = append(e.Layers, name)
			if slices.Contains(e.Layers[:i], name) {
				continue
			}
			if err := o.writeLayer(tw, name, identity.ChainID(img.RootFS.DiffIDs[:i+1])); err != nil {
				return fmt.Errorf("cannot read layer %s: %w", img.RootFS.DiffIDs[i], err)
			}
		}
		manifest = append(manifest, e)
	}
	b, err := json.Marshal(manifest)
	if err == nil {
		err = member(tw, "manifest.json", b)
	}
	return errors.Join(err, tw.Close())
}

func member(tw *tar.Writer, name string, b []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := tw.Write(b)
	return err
}

// writeLayer puts a layer's tar together again.
func (o *overlay2) writeLayer(tw *tar.Writer, name string, chain digest.Digest) error {
	dir := o.image("layerdb", "sha256", chain.Encoded())
	id, err := os.ReadFile(filepath.Join(dir, "cache-id"))
	if err != nil {
		return err
	}
	files, err := o.diff(string(id))
	if err != nil {
		return err
	}
	size := int64(0)
	err = split(dir, func(u storage.Unpacker) error {
		for {
			e, err := u.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if e.Type == storage.SegmentType {
				size += int64(len(e.Payload))
			} else {
				size += e.Size
			}
		}
	})
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size}); err != nil {
		return err
	}
	return split(dir, func(u storage.Unpacker) error {
		return asm.WriteOutputTarStream(storage.NewPathFileGetter(files), u, tw)
	})
}

func split(dir string, read func(storage.Unpacker) error) error {
	f, err := os.Open(filepath.Join(dir, "tar-split.json.gz"))
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	return read(storage.NewJSONUnpacker(z))
}
