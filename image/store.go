// Package image keeps images: it imports, loads, lists, tags and removes them, and
// says in which directories their unpacked layers are.
package image

import (
	"context"
	"errors"
	"io"
	"time"

	apiimage "github.com/moby/moby/api/types/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options says how a store works.
type Options struct {
	Root string // directory of its own: content, unpacked layers, metadata
	// Pinned returns the chain IDs that containers' records name. Their layers stay
	// when their image is removed. It is called in the background and must not wait
	// for the store. nil: none.
	Pinned func() []string
	// MaxUnpacked limits the bytes of one unpacked layer, against decompression
	// bombs. 0: no limit but the disk's.
	MaxUnpacked int64
}

// Store is the image store.
type Store struct{}

// Open opens the store, making it when it is new, and removes what an earlier
// process left half-made.
func Open(ctx context.Context, o Options) (*Store, error) { return nil, errors.ErrUnsupported }

// Close waits for the work in the background.
func (s *Store) Close() error { return nil }

// Get finds an image by name, name@digest, ID or unique beginning of an ID. It
// answers from memory.
func (s *Store) Get(ctx context.Context, ref string) (*Image, error) {
	return nil, errors.ErrUnsupported
}

// Hold is Get, and keeps the image's layers on disk until release is called:
// long enough for a container's record to pin them.
func (s *Store) Hold(ctx context.Context, ref string) (img *Image, release func(), err error) {
	return nil, nil, errors.ErrUnsupported
}

// List returns all images, newest first.
func (s *Store) List(ctx context.Context) ([]*Image, error) { return nil, errors.ErrUnsupported }

// Tag gives the image another name.
func (s *Store) Tag(ctx context.Context, ref, newRef string) error { return errors.ErrUnsupported }

// Remove removes a name, or the image when ref is its last name or its ID. users
// returns the containers made from the image with that ID.
func (s *Store) Remove(ctx context.Context, ref string, force bool, users func(imageID string) []User) ([]apiimage.DeleteResponse, error) {
	return nil, errors.ErrUnsupported
}

// Load brings in the images of a docker or OCI archive, which may be compressed.
func (s *Store) Load(ctx context.Context, r io.Reader, platforms ...ocispec.Platform) ([]Loaded, error) {
	return nil, errors.ErrUnsupported
}

// ImportOptions says what Import makes of a tar archive.
type ImportOptions struct {
	Ref      string            // name[:tag]; "": a dangling image
	Message  string            // the comment in its history
	Changes  []string          // Dockerfile instructions: CMD, ENTRYPOINT, ENV, …
	Platform *ocispec.Platform // nil: this machine's
	Created  time.Time         // zero: now
}

// Import makes an image with one layer from the tar archive of a root file system,
// plain or compressed by gzip, zstd, bzip2 or xz.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions) (*Image, error) {
	return nil, errors.ErrUnsupported
}
