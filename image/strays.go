package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// strays looks for files without metadata. A process that is killed leaves them: it
// writes a blob or a layer before the record of it, and removes them after it. The
// collector would remove them, but goes through the files only when it has just
// deleted a record. So when there are more files than records, one of each is made
// and deleted.
func (s *Store) strays(ctx context.Context) error {
	if err := s.strayLayers(ctx); err != nil {
		return err
	}
	return s.strayBlobs(ctx)
}

func (s *Store) strayLayers(ctx context.Context) error {
	known := 0
	err := s.snaps.Walk(ctx, func(context.Context, snapshots.Info) error { known++; return nil })
	if err != nil {
		return err
	}
	have, err := entries(filepath.Join(s.o.Root, "overlay/snapshots"))
	if err != nil || have == known {
		return err
	}
	// First the directories that the snapshotter itself does not know: it would give
	// their numbers to new layers, and find the place taken.
	if err := s.layers.Cleanup(ctx); err != nil {
		return err
	}
	const key = "strays"
	if _, err := s.snaps.Prepare(ctx, key, ""); err != nil {
		return err
	}
	return s.snaps.Remove(ctx, key)
}

func (s *Store) strayBlobs(ctx context.Context) error {
	known := 0
	err := s.content.Walk(ctx, func(content.Info) error { known++; return nil })
	if err != nil {
		return err
	}
	have, err := entries(filepath.Join(s.o.Root, "content/blobs/sha256"))
	if err != nil || have == known {
		return err
	}
	b := []byte("strays")
	d := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := content.WriteBlob(ctx, s.content, "strays", bytes.NewReader(b), d); err != nil {
		return err
	}
	return s.content.Delete(ctx, d.Digest)
}

// entries counts what is in a directory; one that is not there yet has nothing.
func entries(dir string) (int, error) {
	es, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return 0, nil
	}
	return len(es), err
}
