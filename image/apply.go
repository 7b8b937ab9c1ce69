package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"hoy/image/extract"
)

// applier unpacks layers into snapshots of others, in confined processes as all layers
// that somebody else has made. It is containerd's diff.Applier.
type applier struct{ s *Store }

// Apply unpacks a layer and returns what its content is.
func (a applier) Apply(ctx context.Context, d ocispec.Descriptor, mounts []mount.Mount, _ ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	applied, err := a.apply(namespaced(ctx), d, mounts)
	if err != nil {
		err = fmt.Errorf("cannot unpack layer %s: %w", d.Digest, err)
	}
	return applied, err
}

func (a applier) apply(ctx context.Context, d ocispec.Descriptor, mounts []mount.Mount) (applied ocispec.Descriptor, err error) {
	upper, lower, err := upperOf(mounts)
	if err != nil {
		return applied, err
	}
	ra, err := a.s.content.ReaderAt(ctx, d)
	if err != nil {
		return applied, err
	}
	defer ra.Close()
	plain, _, err := extract.Decompress(content.NewReader(ra))
	if err != nil {
		return applied, err
	}
	defer plain.Close()
	st := &staged{unpacker: a.s.o.Unpacker, upper: upper}
	sum := d.Digest.Algorithm().Digester()
	size := &counter{}
	if err := fanOut(ctx, plain, io.MultiWriter(sum.Hash(), size), func(r io.Reader) error { return st.fill(ctx, r, a.s.limits()) }); err != nil {
		return applied, err
	}
	root, err := os.OpenFile(upper, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return applied, err
	}
	defer root.Close()
	if err := extract.Adopt(root, st.res.Implied, lower); err != nil {
		return applied, err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: sum.Digest(), Size: size.n}, nil
}

// upperOf finds the directory that a snapshot is written to, and those below it, top first.
func upperOf(mounts []mount.Mount) (upper string, lower []string, err error) {
	if len(mounts) == 1 {
		m := mounts[0]
		if m.Type == "bind" {
			return m.Source, nil, nil
		}
		for _, o := range m.Options {
			switch key, value, _ := strings.Cut(o, "="); key {
			case "upperdir":
				upper = value
			case "lowerdir":
				lower = strings.Split(value, ":")
			}
		}
	}
	if upper == "" {
		return "", nil, fmt.Errorf("it has no directory to be written to: %v", mounts)
	}
	return upper, lower, nil
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
