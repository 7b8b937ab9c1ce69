package extract

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"

	"hoy/lib/fault"
)

// Compression is how a stream is compressed.
type Compression uint8

// The compressions that archives come in.
const (
	None Compression = iota
	Gzip
	Zstd
	Bzip2
	Xz
)

func (c Compression) String() string {
	return [...]string{"none", "gzip", "zstd", "bzip2", "xz"}[c]
}

// maxWindow bounds the memory that a zstd or xz stream may ask for.
const maxWindow = 128 << 20

// Detect looks at a stream's first bytes.
func Detect(head []byte) Compression {
	for c, magic := range [...]string{Gzip: "\x1f\x8b", Zstd: "\x28\xb5\x2f\xfd", Bzip2: "BZh", Xz: "\xfd7zXZ\x00"} {
		if magic != "" && bytes.HasPrefix(head, []byte(magic)) {
			return Compression(c)
		}
	}
	return None
}

// Decompress returns the plain stream of r, whatever r is compressed with.
func Decompress(r io.Reader) (io.ReadCloser, Compression, error) {
	br := bufio.NewReaderSize(r, 128<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, None, fmt.Errorf("cannot read archive: %w", err)
	}
	c := Detect(head)
	rc, err := open(br, c)
	if err != nil {
		return nil, c, fault.New(fault.Invalid, "cannot decompress archive (%s): %w", c, err)
	}
	return rc, c, nil
}

func open(br *bufio.Reader, c Compression) (io.ReadCloser, error) {
	switch c {
	case Gzip:
		z, err := gzip.NewReader(br)
		return damaged{z, z.Close}, err
	case Zstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, err
		}
		return damaged{z, func() error { z.Close(); return nil }}, nil
	case Bzip2:
		return damaged{bzip2.NewReader(br), nil}, nil
	case Xz:
		z, err := xz.NewReader(br, maxWindow)
		return damaged{cut{z}, nil}, whole(err)
	}
	return io.NopCloser(br), nil
}

// cut says of xz streams as others do that they are truncated.
type cut struct{ *xz.Reader }

func (c cut) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	return n, whole(err)
}

func whole(err error) error {
	if err == xz.ErrBuf {
		return io.ErrUnexpectedEOF
	}
	return err
}

// damaged makes what a decompressor complains about the caller's fault.
type damaged struct {
	io.Reader
	close func() error
}

func (d damaged) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err == nil || err == io.EOF || fault.KindOf(err) != fault.Internal {
		return n, err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err // a truncated archive: the reader above says so
	}
	return n, fault.New(fault.Invalid, "compressed data is damaged: %w", err)
}

func (d damaged) Close() error {
	if d.close == nil {
		return nil
	}
	return d.close()
}
