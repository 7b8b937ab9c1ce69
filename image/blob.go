package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Labels of containerd's garbage collector and of its unpacker.
const (
	labelFlat         = "containerd.io/gc.flat" // on leases: not what their resources refer to
	labelContentRef   = "containerd.io/gc.ref.content"
	labelConfigRef    = "containerd.io/gc.ref.content.config"
	labelLayerRef     = "containerd.io/gc.ref.content.l."
	labelManifestRef  = "containerd.io/gc.ref.content.m."
	labelSnapshotRef  = "containerd.io/gc.ref.snapshot." + snapshotter
	labelUncompressed = "containerd.io/uncompressed"
	labelParent       = "org.mobyproject.image.parent" // docker's, on names
)

// blobWriter writes one blob whose digest is not known yet.
type blobWriter struct {
	content.Writer
	s   *Store
	ref string
}

func (s *Store) newBlob(ctx context.Context) (*blobWriter, error) {
	ref := rand.Text()
	w, err := content.OpenWriter(ctx, s.content, content.WithRef(ref))
	if err != nil {
		return nil, fmt.Errorf("cannot write blob: %w", err)
	}
	return &blobWriter{w, s, ref}, nil
}

// commit makes the blob durable and returns its descriptor. want may be empty.
func (w *blobWriter) commit(ctx context.Context, mediaType string, want digest.Digest, labels map[string]string) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: w.Digest()}
	st, err := w.Status()
	if err != nil {
		return d, err
	}
	d.Size = st.Offset
	if want == "" {
		want = d.Digest
	}
	err = w.Commit(ctx, d.Size, want, content.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		w.drop(ctx)
		return d, w.s.label(ctx, d.Digest, labels)
	}
	if err != nil {
		return d, fmt.Errorf("cannot store blob: %w", err)
	}
	return d, nil
}

// drop abandons the blob. After commit it does nothing.
func (w *blobWriter) drop(ctx context.Context) {
	w.Close()
	w.s.content.Abort(context.WithoutCancel(ctx), w.ref)
}

// label adds labels to a blob.
func (s *Store) label(ctx context.Context, d digest.Digest, labels map[string]string) error {
	if len(labels) == 0 {
		return nil
	}
	var paths []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		paths = append(paths, "labels."+k)
	}
	if _, err := s.content.Update(ctx, content.Info{Digest: d, Labels: labels}, paths...); err != nil {
		return fmt.Errorf("cannot label blob %s: %w", d, err)
	}
	return nil
}

func (s *Store) putBytes(ctx context.Context, mediaType string, b []byte, labels map[string]string) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	err := content.WriteBlob(ctx, s.content, "put-"+d.Digest.String(), bytes.NewReader(b), d, content.WithLabels(labels))
	if err != nil {
		return d, fmt.Errorf("cannot store blob %s: %w", d.Digest, err)
	}
	// WriteBlob is content with a blob that is there already, whatever its labels.
	return d, s.label(ctx, d.Digest, labels)
}

func (s *Store) putJSON(ctx context.Context, mediaType string, v any, labels map[string]string) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.putBytes(ctx, mediaType, b, labels)
}

// chunk is how much fanOut reads at once; it has that many times chunks in flight.
const (
	chunk    = 256 << 10
	inFlight = 8
)

// fanOut reads src once, for two consumers at the same time: first is written to in
// the calling goroutine, second reads in one of its own and reads to the end.
func fanOut(ctx context.Context, src io.Reader, first io.Writer, second func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &chunkReader{in: make(chan []byte, inFlight), free: make(chan []byte, inFlight)}
	for range inFlight {
		r.free <- make([]byte, chunk)
	}
	done := make(chan error, 1)
	go func() {
		err := second(r)
		cancel() // whoever reads no more must not be waited for
		done <- err
	}()
	err := r.feed(ctx, src, first)
	r.err = err
	close(r.in)
	if second := <-done; second != nil {
		return second
	}
	return err
}

// chunkReader is second's side: chunks come in by one channel and go back by the other.
type chunkReader struct {
	in, free chan []byte
	now      []byte // what is left of the chunk being read
	whole    []byte
	err      error // why there is no more, set before in is closed
}

func (r *chunkReader) feed(ctx context.Context, src io.Reader, first io.Writer) error {
	for {
		var b []byte
		select {
		case b = <-r.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		n, err := io.ReadFull(src, b[:cap(b)])
		if n > 0 {
			if _, err := first.Write(b[:n]); err != nil {
				return err
			}
			select {
			case r.in <- b[:n]:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF && n > 0 && n < cap(b) {
			if err = atEnd(src); err == io.EOF {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// atEnd tells the end of a stream from a truncated one: ReadFull says
// ErrUnexpectedEOF for both.
func atEnd(src io.Reader) error {
	var one [1]byte
	n, err := src.Read(one[:])
	if n > 0 || err == nil {
		return fmt.Errorf("cannot read on after the end of the stream")
	}
	return err
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if len(r.now) == 0 {
		if r.whole != nil {
			r.free <- r.whole[:cap(r.whole)]
			r.whole = nil
		}
		b, ok := <-r.in
		if !ok {
			if r.err != nil {
				return 0, r.err
			}
			return 0, io.EOF
		}
		r.now, r.whole = b, b
	}
	n := copy(p, r.now)
	r.now = r.now[n:]
	return n, nil
}
