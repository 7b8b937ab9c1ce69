package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// strays looks for files without metadata. A process that is killed leaves them: it
// writes a blob or a layer before the record of it, and removes them after it. The
// collector would remove them, but goes through the files only when it has just
// deleted a record. So when there is a file without record, a record is made and
// deleted.
func (s *Store) strays(ctx context.Context) error {
	if err := s.strayLayers(ctx); err != nil {
		return err
	}
	return s.strayBlobs(ctx)
}

func (s *Store) strayLayers(ctx context.Context) error {
	known := map[string]bool{}
	err := s.snaps.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		known[layerDir(i)] = true
		return nil
	})
	if err != nil {
		return err
	}
	dir := filepath.Join(s.o.Root, "overlay/snapshots")
	if stray, err := unknown(dir, known); err != nil || !stray {
		return err
	}
	// First the directories that the snapshotter itself does not know: it would give
	// their numbers to new layers, and find the place taken.
	err = s.layers.Cleanup(ctx)
	if errdefs.IsNotFound(err) {
		// It has no list of layers before the first one is made: whoever was killed over
		// that has left the only directory.
		if err = os.RemoveAll(dir); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil {
		return err
	}
	const key = "strays"
	if _, err := s.snaps.Prepare(ctx, key, ""); err != nil {
		return err
	}
	return s.snaps.Remove(ctx, key)
}

// layerDir is the name of a layer's directory below overlay/snapshots.
func layerDir(i snapshots.Info) string { return filepath.Base(filepath.Dir(i.Labels[upperLabel])) }

func (s *Store) strayBlobs(ctx context.Context) error {
	known := map[string]bool{}
	for _, ctx := range []context.Context{ctx, namespaces.WithNamespace(ctx, historyNamespace)} {
		err := s.content.Walk(ctx, func(i content.Info) error {
			known[i.Digest.Encoded()] = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	if stray, err := unknown(filepath.Join(s.o.Root, "content/blobs/sha256"), known); err != nil || !stray {
		return err
	}
	b := []byte("strays")
	d := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := content.WriteBlob(ctx, s.content, "strays", bytes.NewReader(b), d); err != nil {
		return err
	}
	return s.content.Delete(ctx, d.Digest)
}

// unknown reports whether a directory has an entry that is not known; one that is not
// there yet has none.
func unknown(dir string, known map[string]bool) (bool, error) {
	es, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return false, nil
	}
	for _, e := range es {
		if !known[e.Name()] {
			return true, nil
		}
	}
	return false, err
}
