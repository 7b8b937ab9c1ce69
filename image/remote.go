package image

import (
	"context"
	"io"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is what images are pulled from: one repository of a registry, which package
// registry speaks to. Its errors have kinds: NotFound, Unauthorized, Forbidden,
// Unavailable. It retries by itself what a registry or the way to it may do better the
// next time; an error is the last word.
type Source interface {
	// Resolve says what a tag, or a digest, stands for: an index or a manifest.
	Resolve(ctx context.Context, tag string) (ocispec.Descriptor, error)
	// Fetch opens the n bytes of d's content from offset off; n < 0: to the end. What
	// it gives may end early, with an error; its digest is the caller's to check. From a
	// registry that knows no ranges it gives ends, whose beginning it skips, and is
	// NotImplemented for parts from within.
	Fetch(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error)
	// Referrers lists the manifests whose subject is d; of a registry without this
	// interface those under the tag that stands in for it.
	Referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error)
	// Tags lists all tags, sorted.
	Tags(ctx context.Context) ([]string, error)
}

// Target is what images are pushed to. Its errors are as those of a Source.
type Target interface {
	// Exists tells whether the repository has d.
	Exists(ctx context.Context, d ocispec.Descriptor) (bool, error)
	// Mount makes a blob that another repository of the same registry has this one's
	// too; false: the registry does not, it has to be uploaded.
	Mount(ctx context.Context, d ocispec.Descriptor, from reference.Named) (bool, error)
	// Upload sends a blob. It calls open again with another offset when it has to go on
	// after a failure, and sent with the number of bytes that the registry has so far.
	Upload(ctx context.Context, d ocispec.Descriptor, open func(off int64) (io.ReadCloser, error), sent func(n int64)) error
	// PutManifest stores a manifest or index, under a tag if that is not "".
	PutManifest(ctx context.Context, d ocispec.Descriptor, raw []byte, tag string) error
}
