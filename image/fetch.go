package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// streams is how many parts of one blob are fetched at a time.
const streams = 4

// fetch is one blob on its way into the store. All pulls that want it share it; it goes
// on as long as one of them is left.
type fetch struct {
	s    *Store
	d    ocispec.Descriptor
	src  Source
	file *partial
	stop context.CancelFunc

	began   atomic.Bool // its turn has come
	checked atomic.Int64
	kept    atomic.Bool // the blob is in the content store
	users   int         // guarded by Store.fetchMu; 0: it is ending

	done chan struct{} // closed when nothing is fetched any more
	err  error         // why it failed, set before done is closed
	gone chan struct{} // closed when the blob may be fetched anew
}

// errDigest is in the error for a blob that is not what its digest says.
var errDigest = errors.New("digest does not match")

// join begins to fetch a blob, or takes part in a fetch of it. own: it has begun one.
func (s *Store) join(ctx context.Context, src Source, d ocispec.Descriptor) (f *fetch, own bool, err error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, false, fault.New(fault.Invalid, "%q is no digest: %w", d.Digest, err)
	}
	for {
		s.fetchMu.Lock()
		f := s.fetches[d.Digest]
		if f == nil {
			f, err = s.begin(src, d)
			s.fetchMu.Unlock()
			return f, true, err
		}
		if f.users > 0 {
			f.users++
			s.fetchMu.Unlock()
			if f.d.Size != d.Size {
				f.leave()
				return nil, false, fault.New(fault.Invalid, "%s has %d bytes by one manifest, %d by another", d.Digest, f.d.Size, d.Size)
			}
			return f, false, nil
		}
		s.fetchMu.Unlock()
		select {
		case <-f.gone:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// begin begins to fetch. The caller holds fetchMu.
func (s *Store) begin(src Source, d ocispec.Descriptor) (*fetch, error) {
	file, err := openPartial(s.partialPath(d.Digest), d.Size)
	if err != nil {
		return nil, noRoom(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &fetch{s: s, d: d, src: src, file: file, stop: stop, users: 1, done: make(chan struct{}), gone: make(chan struct{})}
	s.fetches[d.Digest] = f
	go func() {
		f.err = f.run(ctx)
		close(f.done)
	}()
	return f, nil
}

// leave ends a pull's part in it. Who is the last stops it, and removes what is of no
// use to later pulls.
func (f *fetch) leave() {
	f.s.fetchMu.Lock()
	f.users--
	last := f.users == 0
	f.s.fetchMu.Unlock()
	if !last {
		return
	}
	f.stop()
	<-f.done
	f.file.f.Close()
	// Bytes that cannot become the blob help nobody, and a full disk needs the room.
	if f.kept.Load() || errors.Is(f.err, errDigest) || errors.Is(f.err, unix.ENOSPC) {
		os.Remove(f.s.partialPath(f.d.Digest))
	}
	f.s.fetchMu.Lock()
	delete(f.s.fetches, f.d.Digest)
	f.s.fetchMu.Unlock()
	close(f.gone)
}

// run fetches what is missing while it takes the digest of what is there.
func (f *fetch) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.bytes(ctx) })
	g.Go(func() error { return f.check(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	return noRoom(f.file.finish())
}

func (f *fetch) check(ctx context.Context) error {
	sum := f.d.Digest.Algorithm().Digester()
	r := f.follow(ctx, &f.checked)
	if _, err := io.CopyBuffer(onlyWriter{sum.Hash()}, r, make([]byte, chunk)); err != nil {
		return err
	}
	if got := sum.Digest(); got != f.d.Digest {
		return fault.New(fault.Unavailable, "what came for %s has the digest %s and was removed: %w", f.d.Digest, got, errDigest)
	}
	return nil
}

// bytes fetches what is missing.
func (f *fetch) bytes(ctx context.Context) error {
	if f.file.next(0) == len(f.file.have) {
		return nil
	}
	if err := f.s.downloads.enter(ctx); err != nil {
		return err
	}
	defer f.s.downloads.leave()
	f.began.Store(true)
	err := failpoint.Hit(failpoint.ImageFetchBegun)
	if err == nil {
		err = f.parts(ctx)
	}
	if fault.Is(err, fault.NotImplemented) {
		first := f.file.next(0)
		off, _ := f.file.missing(first)
		err = f.copy(ctx, off, -1)
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case fault.Is(err, fault.Internal) && !errors.Is(err, unix.ENOSPC):
		err = fault.As(fault.Unavailable, err) // the way to the registry
	}
	return fmt.Errorf("cannot fetch %s: %w", f.d.Digest, noRoom(err))
}

// parts fetches the parts that are not whole, lowest first, several at a time.
func (f *fetch) parts(ctx context.Context) error {
	if len(f.file.have) == 1 {
		off, _ := f.file.missing(0)
		return f.copy(ctx, off, -1)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(streams)
	for i := f.file.next(0); i < len(f.file.have) && ctx.Err() == nil; i = f.file.next(i + 1) {
		g.Go(func() error {
			off, n := f.file.missing(i)
			return f.copy(ctx, off, n)
		})
	}
	return g.Wait()
}

// copy fetches n bytes from off; n < 0: to the end.
func (f *fetch) copy(ctx context.Context, off, n int64) error {
	r, err := f.src.Fetch(ctx, f.d, off, n)
	if err != nil {
		return err
	}
	defer r.Close()
	end := f.d.Size
	if n >= 0 {
		end = off + n
	}
	buf := make([]byte, chunk)
	for off < end {
		n, err := r.Read(buf[:min(int64(len(buf)), end-off)])
		if err := f.file.write(buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
		if off == end {
			break
		}
		if err == io.EOF {
			return fault.New(fault.Unavailable, "it ended after %d of %d bytes: %w", off, f.d.Size, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.ImageFetchSome); err != nil {
			return err
		}
	}
	return nil
}

// wait waits for the blob.
func (f *fetch) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failed reports whether the fetch has ended without the blob.
func (f *fetch) failed() bool {
	select {
	case <-f.done:
		return f.err != nil
	default:
		return false
	}
}

// noRoom gives the error of a full disk the kind that it has everywhere.
func noRoom(err error) error {
	if errors.Is(err, unix.ENOSPC) {
		return fault.New(fault.Unavailable, "the disk is full: %w", err)
	}
	return err
}
