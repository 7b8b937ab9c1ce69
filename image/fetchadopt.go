package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/failpoint"
)

// adopt takes a complete blob into the content store. The file there and the one among
// the partial blobs are the same until there is a record: the garbage collector may
// remove a file without one.
func (s *Store) adopt(ctx context.Context, f *fetch, labels map[string]string) error {
	if err := failpoint.Hit(failpoint.ImageFetchChecked); err != nil {
		return err
	}
	path := filepath.Join(s.o.Root, "content/blobs", f.d.Digest.Algorithm().String(), f.d.Digest.Encoded())
	for {
		if err := link(s.partialPath(f.d.Digest), path); err != nil {
			return noRoom(err)
		}
		if err := failpoint.Hit(failpoint.ImageFetchLinked); err != nil {
			return err
		}
		recorded, err := s.record(ctx, f.d, labels)
		if err != nil {
			return noRoom(fmt.Errorf("cannot store %s: %w", f.d.Digest, err))
		}
		if recorded {
			f.kept.Store(true)
			return nil
		}
	}
}

// link gives a file a second name, for good.
func link(from, to string) error {
	dir := filepath.Dir(to)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(from, 0o444); err != nil {
		return err
	}
	if err := os.Link(from, to); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// record makes a blob whose file is there part of the store; false: it was collected.
func (s *Store) record(ctx context.Context, d ocispec.Descriptor, labels map[string]string) (bool, error) {
	ref := "pull-" + d.Digest.String()
	w, err := content.OpenWriter(ctx, s.content, content.WithRef(ref), content.WithDescriptor(d))
	if errdefs.IsAlreadyExists(err) {
		return true, s.label(ctx, d.Digest, labels)
	}
	if err != nil {
		return false, err
	}
	defer w.Close()
	// A writer of the store's knows the file, and says that all of it is written.
	if st, err := w.Status(); err != nil || st.Offset != d.Size {
		w.Close()
		return false, errors.Join(err, s.content.Abort(ctx, ref))
	}
	err = w.Commit(ctx, d.Size, d.Digest, content.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		return true, s.label(ctx, d.Digest, labels)
	}
	return err == nil, err
}
