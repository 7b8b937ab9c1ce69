package extract

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads xz streams (The .xz File Format 1.2.1) of LZMA2 alone, which is what xz
// makes of anything but programs. The container is read here because the library's reader
// of it makes whatever dictionary a block asks for: 4 GiB for a stream of a hundred bytes.
type xzReader struct {
	in     counted
	check  byte      // of the stream: what its blocks end with
	sum    hash.Hash // for it; nil: nothing
	blocks uint64    // of the stream, so far

	block io.Reader // nil between blocks
	plain uint64    // bytes of it, so far
	want  uint64    // as many as its header says
	sized bool      // it says so

	err error // why there is no more
}

const (
	xzMagic       = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
	xzFilterLZMA2 = 0x21

	xzCRC32, xzCRC64, xzSHA256 = 1, 4, 10
)

var errXZ = errors.New("malformed xz stream")

func newXZReader(in *bufio.Reader) (*xzReader, error) {
	x := &xzReader{in: counted{Reader: in}}
	return x, x.stream()
}

// Read returns io.EOF at the end of the last stream.
func (x *xzReader) Read(p []byte) (n int, err error) {
	for n == 0 && len(p) > 0 && x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err = x.block.Read(p)
		x.plain += uint64(n)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if err == io.EOF {
			x.block, err = nil, x.blockEnd()
		}
		x.err = err
	}
	return n, x.err
}

// stream reads a stream's header.
func (x *xzReader) stream() error {
	var h [12]byte
	if err := x.in.full(h[:]); err != nil {
		return err
	}
	if string(h[:6]) != xzMagic || h[6] != 0 || !checked(h[6:8], h[8:]) {
		return errXZ
	}
	x.check, x.blocks = h[7], 0
	switch x.check {
	case 0:
		x.sum = nil
	case xzCRC32:
		x.sum = crc32.NewIEEE()
	case xzCRC64:
		x.sum = crc64.New(crc64.MakeTable(crc64.ECMA))
	case xzSHA256:
		x.sum = sha256.New()
	default:
		return fmt.Errorf("xz stream with the unknown check %d", x.check)
	}
	return nil
}

// next begins the next block, of the next stream if need be.
func (x *xzReader) next() error {
	for {
		x.in.n = 0
		size, err := x.in.ReadByte()
		switch {
		case err != nil:
			return early(err)
		case size != 0:
			return x.blockBegin(size)
		}
		if err := x.streamEnd(); err != nil {
			return err
		}
		if err := x.stream(); err != nil {
			return err
		}
	}
}

// blockBegin reads a block's header, whose first byte is size.
func (x *xzReader) blockBegin(size byte) error {
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if err := x.in.full(h[1:]); err != nil {
		return err
	}
	h, crc := h[:len(h)-4], h[len(h)-4:]
	if !checked(h, crc) {
		return errXZ
	}
	if h[1]&0x3f != 0 {
		return errors.New("xz stream with filters that are not known")
	}
	r := numbers{in: bytes.NewReader(h[2:])}
	if h[1]&0x40 != 0 {
		r.next() // its size in the stream: it says itself where it ends
	}
	if x.sized = h[1]&0x80 != 0; x.sized {
		x.want = r.next()
	}
	filter, properties, code := r.next(), r.next(), r.next()
	if r.err != nil || filter != xzFilterLZMA2 || properties != 1 || code > 0xff {
		return errXZ
	}
	dictionary, err := lzma.DecodeDictCap(byte(code))
	if err != nil {
		return err
	}
	if dictionary > maxWindow {
		return fmt.Errorf("xz stream with a dictionary of %d bytes, more than the %d that are allowed", dictionary, maxWindow)
	}
	x.in.n, x.plain, x.blocks = 0, 0, x.blocks+1
	if x.sum != nil {
		x.sum.Reset()
	}
	x.block, err = lzma.Reader2Config{DictCap: int(dictionary)}.NewReader2(&x.in)
	return err
}

// blockEnd reads what follows a block's content.
func (x *xzReader) blockEnd() error {
	if err := x.in.pad(); err != nil {
		return err
	}
	if x.sized && x.plain != x.want {
		return errXZ
	}
	if x.sum == nil {
		return nil
	}
	sum := x.sum.Sum(nil)
	if x.check != xzSHA256 { // CRCs have their low byte first here
		slices.Reverse(sum)
	}
	got := make([]byte, len(sum))
	if err := x.in.full(got); err != nil {
		return err
	}
	if !bytes.Equal(got, sum) {
		return errors.New("xz stream with a wrong check sum")
	}
	return nil
}

// streamEnd reads the index, whose first byte was read, the footer, and zeros. It returns
// io.EOF if nothing follows.
func (x *xzReader) streamEnd() error {
	r := numbers{in: &x.in}
	if n := r.next(); r.err == nil && n != x.blocks {
		return errXZ
	}
	for range 2 * x.blocks { // the blocks' sizes, each of which has its check
		r.next()
	}
	if r.err != nil {
		return early(r.err)
	}
	if err := x.in.pad(); err != nil {
		return err
	}
	var end [4 + 12]byte // a check of the index; check, size of the index, flags, magic
	if err := x.in.full(end[:]); err != nil {
		return err
	}
	if f := end[4:]; !checked(f[4:10], f[:4]) || f[8] != 0 || f[9] != x.check || string(f[10:]) != xzFooterMagic {
		return errXZ
	}
	for {
		switch zeros, err := x.in.Peek(4); {
		case len(zeros) == 0 && err != nil:
			return err
		case string(zeros) != "\x00\x00\x00\x00":
			return nil
		}
		x.in.Discard(4)
	}
}

// checked reports whether b has the check sum crc.
func checked(b, crc []byte) bool { return crc32.ChecksumIEEE(b) == binary.LittleEndian.Uint32(crc) }

// early makes the end of a stream in its middle an error.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// counted counts what is read of a part whose length is a multiple of four.
type counted struct {
	*bufio.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counted) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func (c *counted) full(p []byte) error {
	_, err := io.ReadFull(c, p)
	return early(err)
}

// pad reads the zeros at the end of a part.
func (c *counted) pad() error {
	for c.n%4 != 0 {
		b, err := c.ReadByte()
		if err != nil {
			return early(err)
		}
		if b != 0 {
			return errXZ
		}
	}
	return nil
}

// numbers reads numbers of seven bits a byte, until the first error.
type numbers struct {
	in  io.ByteReader
	err error
}

func (r *numbers) next() (n uint64) {
	if r.err == nil {
		n, r.err = binary.ReadUvarint(r.in)
	}
	return n
}
