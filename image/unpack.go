package image

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hoy/image/confine"
	"hoy/image/extract"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/tree"
)

// staged is an unpacked layer that is not part of the store yet.
type staged struct {
	unpacker *confine.Unpacker // nil: this process

	dir   string // its own, below staging; the layer is in dir/fs
	res   extract.Result
	upper string // where it lies now
	key   string // the active snapshot it has become
	chain string
}

func (s *Store) newStage() (*staged, error) {
	dir, err := os.MkdirTemp(s.staging(), "layer")
	if err != nil {
		return nil, err
	}
	st := &staged{unpacker: s.o.Unpacker, dir: dir, upper: filepath.Join(dir, "fs")}
	if err := os.Mkdir(st.upper, 0o755); err != nil {
		st.drop()
		return nil, err
	}
	return st, nil
}

// fill unpacks a plain tar stream, any reader, in a confined process. It reads r in the
// calling goroutine only, and r has to end when ctx does.
func (st *staged) fill(ctx context.Context, r io.Reader, limits extract.Limits) error {
	root, err := os.OpenFile(st.upper, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer root.Close()
	// MkdirTemp and Mkdir obey the umask.
	if err := root.Chmod(0o755); err != nil {
		return err
	}
	if st.unpacker == nil {
		st.res, err = extract.Layer(ctx, root, r, limits)
	} else {
		st.res, err = st.unpacker.Layer(ctx, root, r, limits)
	}
	return err
}

func (st *staged) drop() { tree.Remove(st.dir) }

func (s *Store) limits() extract.Limits { return extract.Limits{Bytes: s.o.MaxUnpacked} }

// unpack makes the layers of im that are not in the store yet, several at a time.
func (s *Store) unpack(ctx context.Context, im *Image) error {
	diffs := im.Config.RootFS.DiffIDs
	stages := make([]*staged, len(diffs))
	defer func() {
		for _, st := range stages {
			if st != nil {
				st.drop()
			}
		}
	}()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range diffs {
		if have, err := s.haveLayer(ctx, chainID(diffs[:i+1])); err != nil {
			return err
		} else if have {
			continue
		}
		g.Go(func() (err error) {
			stages[i], err = s.unpackBlob(gctx, im.blobs[i], diffs[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return s.commitLayers(ctx, diffs, stages)
}

// haveLayer reports whether a chain is unpacked, and leases it.
func (s *Store) haveLayer(ctx context.Context, chain string) (bool, error) {
	// The lease first: a collection between the two calls would take the layer.
	if id, ok := leases.FromContext(ctx); ok {
		r := leases.Resource{ID: chain, Type: "snapshots/" + snapshotter}
		if err := s.leases.AddResource(ctx, leases.Lease{ID: id}, r); err != nil {
			return false, fmt.Errorf("cannot lease layer %s: %w", chain, err)
		}
	}
	_, err := s.snaps.Stat(ctx, chain)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// unpackBlob unpacks one layer from its blob in the store.
func (s *Store) unpackBlob(ctx context.Context, blob ocispec.Descriptor, diff digest.Digest) (*staged, error) {
	ra, err := s.content.ReaderAt(ctx, blob)
	if err != nil {
		return nil, fmt.Errorf("cannot read layer %s: %w", blob.Digest, err)
	}
	defer ra.Close()
	return s.unpackStream(ctx, blob.Digest, content.NewReader(ra), diff)
}

// unpackStream unpacks one layer and compares its digest with the configuration's.
func (s *Store) unpackStream(ctx context.Context, blob digest.Digest, r io.Reader, diff digest.Digest) (_ *staged, err error) {
	plain, _, err := extract.Decompress(r)
	if err != nil {
		return nil, fmt.Errorf("cannot unpack layer %s: %w", blob, err)
	}
	defer plain.Close()
	st, err := s.newStage()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			st.drop()
		}
	}()
	sum := diff.Algorithm().Digester()
	err = fanOut(ctx, plain, sum.Hash(), func(r io.Reader) error { return st.fill(ctx, r, s.limits()) })
	if err != nil {
		return nil, fmt.Errorf("cannot unpack layer %s: %w", blob, err)
	}
	if got := sum.Digest(); got != diff {
		return nil, fault.New(fault.Invalid, "layer %s unpacks to digest %s, the image's configuration says %s", blob, got, diff)
	}
	return st, nil
}

// commitLayers makes staged layers part of the store, bottom first; nil ones are
// there already. Everything is moved, then synced once, then committed.
func (s *Store) commitLayers(ctx context.Context, diffs []digest.Digest, stages []*staged) error {
	var below []string // top first
	todo := 0
	for i, st := range stages {
		chain := chainID(diffs[:i+1])
		if st == nil {
			info, err := s.snaps.Stat(ctx, chain)
			if err != nil {
				return fmt.Errorf("cannot find layer %s: %w", chain, err)
			}
			below = append([]string{info.Labels[upperLabel]}, below...)
			continue
		}
		st.chain = chain
		if err := s.place(ctx, st, below); err != nil {
			return fmt.Errorf("cannot place layer %s: %w", chain, err)
		}
		below = append([]string{st.upper}, below...)
		todo++
	}
	if todo == 0 {
		return nil
	}
	if err := failpoint.Hit(failpoint.StoreLayersPlaced); err != nil {
		return err
	}
	if err := s.sync(); err != nil {
		return err
	}
	parent := ""
	for i, st := range stages {
		if st != nil {
			err := s.snaps.Commit(ctx, st.chain, st.key, snapshots.WithParent(parent))
			if err != nil && !errdefs.IsAlreadyExists(err) { // somebody else has unpacked the same
				return fmt.Errorf("cannot commit layer %s: %w", st.chain, err)
			}
		}
		parent = chainID(diffs[:i+1])
	}
	return failpoint.Hit(failpoint.StoreLayersDone)
}

// place moves a staged layer into a snapshot without parent (it gets its parent
// when it is committed, so layers need not wait for each other).
func (s *Store) place(ctx context.Context, st *staged, below []string) error {
	root, err := os.OpenFile(st.upper, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	err = extract.Adopt(root, st.res.Implied, below)
	root.Close()
	if err != nil {
		return err
	}
	st.key = "unpack-" + rand.Text()
	if _, err := s.snaps.Prepare(ctx, st.key, ""); err != nil {
		return err
	}
	info, err := s.snaps.Stat(ctx, st.key)
	if err != nil {
		return err
	}
	upper := info.Labels[upperLabel]
	if err := unix.Rename(st.upper, upper); err != nil { // onto the empty directory, which os.Rename refuses
		return os.NewSyscallError("rename", err)
	}
	st.upper = upper
	return nil
}

// sync makes all files of the store durable. One call for tens of thousands of
// files: fsync for each would cost a journal commit each.
func (s *Store) sync() error {
	f, err := os.Open(s.o.Root)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}
