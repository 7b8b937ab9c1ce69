package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"hoy/image/extract"
	"hoy/lib/fault"
)

// Bounds of an image archive: what is small is kept in memory until it is known
// what it is, what is large goes to the content store as it comes.
const (
	maxMembers = 100_000
	smallBlob  = 256 << 10
	maxSmall   = 64 << 20 // all small members together; more of them are stored
	maxWords   = 32 << 20 // bytes of all names and links together: one may have a MiB
)

// outer is an image archive that has been read.
type outer struct {
	s     *Store
	files map[string]*part // by clean name
	links map[string]string
	small int
	words int
	space int64                                // that were free at the beginning
	kept  map[digest.Digest]ocispec.Descriptor // small parts that were stored
}

// part is one file of the archive: in memory, or in the content store already.
type part struct {
	digest digest.Digest
	size   int64
	data   []byte // nil when stored
}

// readArchive reads an archive to its end.
func (s *Store) readArchive(ctx context.Context, r io.Reader) (*outer, error) {
	plain, _, err := extract.Decompress(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	space, err := s.space()
	if err != nil {
		return nil, err
	}
	a := &outer{s: s, space: space, files: map[string]*part{}, links: map[string]string{}, kept: map[digest.Digest]ocispec.Descriptor{}}
	tr := tar.NewReader(plain)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, archiveError(err)
		}
		if n == maxMembers {
			return nil, fault.New(fault.Invalid, "the archive has more than %d members", maxMembers)
		}
		if err := a.member(ctx, h, tr); err != nil {
			return nil, fmt.Errorf("archive member %q: %w", h.Name, archiveError(err))
		}
	}
}

// space is how many bytes the store's file system has free.
func (s *Store) space() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.o.Root, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func archiveError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Invalid, "the archive is truncated: %w", err)
	case errors.Is(err, tar.ErrHeader):
		return fault.New(fault.Invalid, "not a tar archive, or a damaged one: %w", err)
	}
	return err
}

func (a *outer) member(ctx context.Context, h *tar.Header, r io.Reader) error {
	if a.words += len(h.Name) + len(h.Linkname); a.words > maxWords {
		return fault.New(fault.Invalid, "the names of the members have more than %d bytes", maxWords)
	}
	name := path.Clean(strings.TrimLeft(h.Name, "/"))
	switch h.Typeflag {
	case tar.TypeSymlink: // docker save once linked equal layers
		a.links[name] = path.Join(path.Dir(name), h.Linkname)
		return nil
	case tar.TypeLink:
		a.links[name] = path.Clean(strings.TrimLeft(h.Linkname, "/"))
		return nil
	case tar.TypeReg:
	default:
		return nil
	}
	if max := a.s.o.MaxUnpacked; max > 0 && h.Size > max {
		return fault.New(fault.Invalid, "%w: %d bytes, %d are allowed", ErrTooLarge, h.Size, max)
	}
	if h.Size > a.space {
		// A bomb must not fill the disk that the containers write to as well.
		return fault.New(fault.Unavailable, "has %d bytes, more than the disk has free: %w", h.Size, unix.ENOSPC)
	}
	a.space -= h.Size
	p, err := a.read(ctx, h.Size, r)
	if err != nil {
		return err
	}
	// In an OCI layout a blob's name is its digest.
	if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && hex != p.digest.Encoded() {
		return fault.New(fault.Invalid, "has digest %s", p.digest)
	}
	a.files[name] = p
	return nil
}

func (a *outer) read(ctx context.Context, size int64, r io.Reader) (*part, error) {
	if size <= smallBlob && a.small+int(size) <= maxSmall {
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		a.small += len(b)
		return &part{digest.FromBytes(b), size, b}, nil
	}
	w, err := a.s.newBlob(ctx)
	if err != nil {
		return nil, err
	}
	defer w.drop(ctx)
	n, err := io.CopyBuffer(onlyWriter{w}, r, make([]byte, chunk))
	if err != nil {
		return nil, err
	}
	if n != size {
		return nil, io.ErrUnexpectedEOF
	}
	d, err := w.commit(ctx, "", "", nil)
	return &part{digest: d.Digest, size: n}, err
}

type onlyWriter struct{ io.Writer }

// file finds a member, through links.
func (a *outer) file(name string) *part {
	name = path.Clean(name)
	for range 8 {
		if p := a.files[name]; p != nil {
			return p
		}
		to, ok := a.links[name]
		if !ok {
			return nil
		}
		name = to
	}
	return nil
}

// bytes returns a part's content, which must be small.
func (a *outer) bytes(ctx context.Context, p *part) ([]byte, error) {
	if p.data != nil || p.size == 0 {
		return p.data, nil
	}
	var raw json.RawMessage
	err := a.s.readJSON(ctx, ocispec.Descriptor{Digest: p.digest, Size: p.size}, &raw)
	return raw, err
}

func (a *outer) json(ctx context.Context, name string, v any) (bool, error) {
	p := a.file(name)
	if p == nil {
		return false, nil
	}
	b, err := a.bytes(ctx, p)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return true, fault.New(fault.Invalid, "cannot read %s: %w", name, err)
	}
	return true, nil
}

// keep makes sure that a part is in the content store, with labels.
func (a *outer) keep(ctx context.Context, p *part, mediaType string, labels map[string]string) (ocispec.Descriptor, error) {
	if p.data != nil || p.size == 0 {
		return a.s.putBytes(ctx, mediaType, p.data, labels)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: p.digest, Size: p.size}
	return d, a.s.label(ctx, p.digest, labels)
}

// blob finds a descriptor's content in an OCI layout.
func (a *outer) blob(d ocispec.Descriptor) *part {
	if d.Digest.Validate() != nil {
		return nil
	}
	return a.file("blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded())
}

// keepTree stores what of the tree below d the archive has, children first.
func (a *outer) keepTree(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if depth > maxNesting+1 {
		return fault.New(fault.Invalid, "indexes are nested more than %d deep", maxNesting)
	}
	if _, done := a.kept[d.Digest]; done {
		return nil
	}
	p := a.blob(d)
	if p == nil {
		return nil // another platform's, or in the store already
	}
	if d.Size != p.size {
		return fault.New(fault.Invalid, "%s has %d bytes, its descriptor says %d", d.Digest, p.size, d.Size)
	}
	a.kept[d.Digest] = d
	var labels map[string]string
	if images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType) {
		b, err := a.bytes(ctx, p)
		if err != nil {
			return err
		}
		read := func(v any) error { return json.Unmarshal(b, v) }
		if labels, err = gcLabels(d.MediaType, read); err != nil {
			return fault.New(fault.Invalid, "cannot read %s %s: %w", d.MediaType, d.Digest, err)
		}
		for _, c := range children(d.MediaType, read) {
			if err := a.keepTree(ctx, c, depth+1); err != nil {
				return err
			}
		}
	}
	_, err := a.keep(ctx, p, d.MediaType, labels)
	return err
}

// children lists what a manifest or index refers to; read has worked before.
func children(mediaType string, read func(v any) error) []ocispec.Descriptor {
	if images.IsIndexType(mediaType) {
		var ix ocispec.Index
		read(&ix)
		return ix.Manifests
	}
	var m ocispec.Manifest
	read(&m)
	return append([]ocispec.Descriptor{m.Config}, m.Layers...)
}
