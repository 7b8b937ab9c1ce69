// Package image keeps images: it imports, loads, lists, tags and removes them, and
// says in which directories their unpacked layers are.
package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"hoy/image/confine"
	"hoy/image/extract"
	"hoy/lib/cleanup"
	"hoy/linux/tree"
)

const (
	namespace   = "moby" // docker's name in containerd's metadata
	snapshotter = "overlayfs"
	upperLabel  = "containerd.io/snapshot/overlay.upperdir"
)

// Options says how a store works.
type Options struct {
	Root string // directory of its own: content, unpacked layers, metadata
	// MaxUnpacked limits the bytes of one unpacked layer, and of one member of an
	// image archive, against decompression bombs: what has more is ErrTooLarge.
	// 0: no limit but the disk's.
	MaxUnpacked int64
	// Unpacker unpacks layers in confined processes, which takes root's rights. nil:
	// they are unpacked in this process, as is right for tests only.
	Unpacker *confine.Unpacker
}

// ErrTooLarge is in the errors for what has more than Options.MaxUnpacked bytes.
var ErrTooLarge = extract.ErrTooLarge

// Store is the image store: containerd's, in this process.
//
// An image is a name and the digest of an index or a manifest. The blobs behind it
// are in the content store, each layer is unpacked once into a snapshot named by
// its chain ID, and the metadata holds it all together for the garbage collector.
// Work in progress is held by a lease. Reading (Get, Hold, List) uses an index in
// memory, replaced as a whole by each change, and waits for nobody.
//
//	<root>/content/       blobs by digest
//	<root>/overlay/       unpacked layers: snapshots/<n>/fs, metadata.db
//	<root>/meta.db        names, labels, leases (bbolt)
//	<root>/partial/       blobs being fetched, which later pulls go on with
//	<root>/used.json      when images were used last
//	<root>/staging/       layers being unpacked; emptied by Open, as is content/ingest
type Store struct {
	o       Options
	db      *bolt.DB
	meta    *metadata.DB
	content content.Store
	images  images.Store
	leases  leases.Manager
	snaps   snapshots.Snapshotter
	layers  snapshots.Cleaner // the snapshotter below snaps
	closers []func() error

	index atomic.Pointer[index]

	mu    sync.Mutex     // taken by whatever changes names: Tag, Remove, the end of Import and Load
	holds map[string]int // chain ID → holders, guarded by holdMu
	// holdMu is separate: Hold must not wait for a removal that writes metadata.
	holdMu sync.Mutex

	fetching

	carried builtIn

	gc     chan struct{}                        // asks for a collection, one at most waiting
	pinned func() (chains []string, whole bool) // set by Collect

	begun   operations
	used    *lastUses
	usedNow chan struct{} // there is news in used
	trim    chan struct{} // asks for the budget to be kept
	closed  chan struct{}
	work    sync.WaitGroup
}

// Open opens the store, making it when it is new, and removes what an earlier
// process left half-made. Nothing is collected before Collect is called: until the
// containers' records are read, nobody knows which layers they use.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot open image store %s: %w", o.Root, err)
		}
	}()
	if o.Root, err = filepath.Abs(o.Root); err != nil {
		return nil, err
	}
	s := &Store{o: o, holds: map[string]int{}, begun: operations{at: map[string]time.Time{}}, gc: make(chan struct{}, 1), trim: make(chan struct{}, 1), usedNow: make(chan struct{}, 1), closed: make(chan struct{})}
	s.fetches, s.turns = map[digest.Digest]*fetch{}, map[digest.Digest]chan struct{}{}
	s.unpacking.set(runtime.GOMAXPROCS(0))
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { s.closeAll() })
	if err := s.open(); err != nil {
		return nil, err
	}
	ctx = namespaced(ctx)
	if err := s.meta.Init(ctx); err != nil {
		return nil, err
	}
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	s.used = openLastUses(o.Root)
	undo.Release()
	s.collectSoon() // what the sweep has let go; waits for Collect
	return s, nil
}

func (s *Store) open() error {
	// The store's libraries log on their own what their callers are told as well, and
	// warn at each start of a file system without fs-verity.
	log.SetLevel("error")
	root := s.o.Root
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	if err := undamaged(root); err != nil {
		return err
	}
	db, err := bolt.Open(filepath.Join(root, "meta.db"), 0o600, &bolt.Options{
		FreelistType: bolt.FreelistMapType, NoFreelistSync: true, Timeout: 3 * time.Second,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return fmt.Errorf("another engine uses it")
	}
	if err != nil {
		return err
	}
	s.closers = append(s.closers, db.Close)
	if err := s.emptyStaging(); err != nil {
		return err
	}
	// Unfinished writes of an earlier process. The content store itself stumbles over
	// one that was killed before it had written all of its files.
	if err := os.RemoveAll(filepath.Join(root, "content/ingest")); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(root, "content/ingest"), 0o755); err != nil {
		return err
	}
	blobs, err := local.NewStore(filepath.Join(root, "content"))
	if err != nil {
		return err
	}
	sn, err := overlay.NewSnapshotter(filepath.Join(root, "overlay"), overlay.WithUpperdirLabel, overlay.AsynchronousRemove)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, sn.Close)
	s.db = db
	s.layers = sn.(snapshots.Cleaner) // overlay's is one
	s.meta = metadata.NewDB(db, blobs, map[string]snapshots.Snapshotter{snapshotter: sn})
	s.meta.RegisterCollectibleResource(pinResource, pins{s})
	s.content = s.meta.ContentStore()
	s.images = metadata.NewImageStore(s.meta)
	s.leases = metadata.NewLeaseManager(s.meta)
	s.snaps = s.meta.Snapshotter(snapshotter)
	return nil
}

// sweep drops the leases of an earlier process: nobody works under them any more, except
// those by which the build cache keeps what it has. What they held goes with the next
// collection.
func (s *Store) sweep(ctx context.Context) error {
	old, err := s.leases.List(ctx)
	if err != nil {
		return err
	}
	for _, l := range old {
		if outlives(l) {
			continue
		}
		if err := s.leases.Delete(ctx, l); err != nil {
			return err
		}
	}
	if err := s.sweepPartials(ctx); err != nil {
		return err
	}
	if err := s.sweepDangling(ctx); err != nil {
		return err
	}
	return s.strays(ctx)
}

// sweepDangling drops the names by which images without name are kept, where an image
// has got one.
func (s *Store) sweepDangling(ctx context.Context) error {
	all, err := s.images.List(ctx)
	if err != nil {
		return err
	}
	named := map[digest.Digest]bool{}
	for _, i := range all {
		named[i.Target.Digest] = named[i.Target.Digest] || !isDangling(i.Name)
	}
	for _, i := range all {
		if isDangling(i.Name) && named[i.Target.Digest] {
			if err := s.images.Delete(ctx, i.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close waits for the work in the background.
func (s *Store) Close() error {
	close(s.closed)
	s.work.Wait()
	return s.closeAll()
}

func (s *Store) closeAll() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// emptyStaging waits for the confined processes of an engine that was killed: each writes
// what it had been given before it sees that nothing comes any more.
func (s *Store) emptyStaging() error {
	var err error
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		if err = tree.Remove(s.staging()); !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	if err != nil {
		return err
	}
	return os.Mkdir(s.staging(), 0o700)
}

func (s *Store) staging() string { return filepath.Join(s.o.Root, "staging") }

func namespaced(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, namespace)
}

// lease returns a context whose writes are kept from the garbage collector until
// done is called.
func (s *Store) lease(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx = namespaced(ctx)
	l, err := s.leases.Create(ctx, leases.WithRandomID())
	if err != nil {
		return nil, nil, fmt.Errorf("cannot lease: %w", err)
	}
	s.begun.begin(l.ID)
	return leases.WithLease(ctx, l.ID), func() {
		// Also when the caller has gone away: otherwise nothing is collected before
		// the next Open.
		if err := s.leases.Delete(context.WithoutCancel(ctx), l); err != nil {
			slog.Warn("cannot end lease", "lease", l.ID, "error", err)
		}
		s.begun.end(l.ID)
		s.collectSoon()
		s.TrimSoon()
	}, nil
}
