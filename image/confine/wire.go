package confine

import (
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/image/extract"
	"hoy/lib/fault"
)

// What passes over the SOCK_SEQPACKET socket. Numbers are little-endian, a message
// begins with its kind (4).
//
//	engine to child
//	begin    | 1 | version (4) | bytes (8) | entries (8) |    the limits
//	filled   | 2 | chunk (4) | length (4) |                   length 0: the end of the stream
//	child to engine
//	free     | 3 | chunk (4) |
//	names    | 4 | which (4) | name NUL name NUL … |           0 implied, 1 opaque; before done
//	done     | 5 | bytes (8) | entries (8) |
//	failed   | 6 | fault kind (4) | errno (4) | cause (4) | text |       cause: 1 too large, 2 no archive
const (
	version = 1

	kindBegin  = 1
	kindFilled = 2
	kindFree   = 3
	kindNames  = 4
	kindDone   = 5
	kindFailed = 6

	maxMessage = 32 << 10
	// maxNames bounds all names of a layer together, in bytes. Directories that are
	// not named themselves are rare, opaque ones too.
	maxNames = 64 << 20
	maxText  = 4 << 10
)

var le = binary.LittleEndian

func message(words ...uint32) []byte {
	var b []byte
	for _, w := range words {
		b = le.AppendUint32(b, w)
	}
	return b
}

func encodeBegin(l extract.Limits) []byte {
	b := message(kindBegin, version)
	b = le.AppendUint64(b, uint64(l.Bytes))
	return le.AppendUint64(b, uint64(l.Entries))
}

func decodeBegin(b []byte) (l extract.Limits, err error) {
	if len(b) != 24 || le.Uint32(b) != kindBegin || le.Uint32(b[4:]) != version {
		return l, errors.New("malformed or foreign request to unpack")
	}
	return extract.Limits{Bytes: int64(le.Uint64(b[8:])), Entries: int64(le.Uint64(b[16:]))}, nil
}

// encodeNames packs names into messages.
func encodeNames(which uint32, names []string) [][]byte {
	var out [][]byte
	b := message(kindNames, which)
	for _, n := range names {
		if len(b)+len(n)+1 > maxMessage {
			out = append(out, b)
			b = message(kindNames, which)
		}
		b = append(append(b, n...), 0)
	}
	if len(b) > 8 {
		out = append(out, b)
	}
	return out
}

func encodeDone(r extract.Result) []byte {
	b := le.AppendUint64(message(kindDone), uint64(r.Bytes))
	return le.AppendUint64(b, uint64(r.Entries))
}

func encodeFailed(err error) []byte {
	var errno unix.Errno
	errors.As(err, &errno)
	cause := uint32(0)
	for i, c := range causes {
		if c != nil && errors.Is(err, c) {
			cause = uint32(i)
		}
	}
	text := err.Error()
	return append(message(kindFailed, uint32(fault.KindOf(err)), uint32(errno), cause), text[:min(len(text), maxText)]...)
}

// causes are errors that callers ask for, by their number on the wire; the first is none.
var causes = [...]error{nil, extract.ErrTooLarge, extract.ErrNoArchive}

// remote is an error of the child's.
type remote struct {
	text  string
	errno unix.Errno
	cause error // of causes
}

func (r *remote) Error() string { return r.text }

func (r *remote) Is(target error) bool {
	return r.cause != nil && target == r.cause || r.errno != 0 && r.errno.Is(target) || target == r.errno
}

// answer collects what a child says, which may be anything.
type answer struct {
	res   extract.Result
	bytes int // of names
	done  bool
}

// take reads a message. freed is the chunk that it returns, -1 for none.
func (a *answer) take(b []byte) (freed int, err error) {
	if len(b) < 4 {
		return -1, errMalformed
	}
	kind, b := le.Uint32(b), b[4:]
	switch {
	case kind == kindFree && len(b) == 4:
		return int(int32(le.Uint32(b))), nil
	case kind == kindNames && len(b) > 4:
		return -1, a.names(le.Uint32(b), b[4:])
	case kind == kindDone && len(b) == 16:
		a.res.Bytes, a.res.Entries = int64(le.Uint64(b)), int64(le.Uint64(b[8:]))
		a.done = true
		if a.res.Bytes < 0 || a.res.Entries < 0 {
			return -1, errMalformed
		}
		return -1, nil
	case kind == kindFailed && len(b) > 12:
		return -1, failure(b)
	}
	return -1, errMalformed
}

var errMalformed = errors.New("cannot unpack layer: the confined process does not keep to the protocol")

func (a *answer) names(which uint32, b []byte) error {
	if a.bytes += len(b); a.bytes > maxNames {
		return fault.New(fault.Invalid, "the layer names too many directories by their members only, or makes too many opaque")
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(b), "\x00"), "\x00") {
		if name != "." && (name == "" || path.Join("/", name) != "/"+name) {
			return errMalformed
		}
		switch which {
		case 0:
			a.res.Implied = append(a.res.Implied, name)
		case 1:
			a.res.Opaque = append(a.res.Opaque, name)
		default:
			return errMalformed
		}
	}
	return nil
}

// failure is the error in a message. A child may only blame the archive or the disk.
func failure(b []byte) error {
	kind := fault.Kind(le.Uint32(b))
	if kind != fault.Invalid && kind != fault.Unavailable {
		kind = fault.Internal
	}
	r := &remote{text: printable(string(b[12:min(len(b), 12+maxText)])), errno: unix.Errno(le.Uint32(b[4:]))}
	if cause := le.Uint32(b[8:]); cause < uint32(len(causes)) {
		r.cause = causes[cause]
	}
	return fault.As(kind, r)
}

// unpack sends the stream and waits for the answer.
func (c *child) unpack(r io.Reader, limits extract.Limits) (extract.Result, error) {
	var a answer
	if err := c.send(encodeBegin(limits)); err != nil {
		return a.res, err
	}
	for end := false; !a.done; {
		if end || len(c.ring.free) == 0 {
			if err := c.receive(&a); err != nil {
				return a.res, err
			}
			continue
		}
		i := c.ring.free[0]
		n, err := io.ReadFull(r, c.ring.chunk(i))
		if end = err == io.EOF || err == io.ErrUnexpectedEOF; end {
			err = atEnd(r)
		}
		if err != nil {
			return a.res, extract.ReadError(err)
		}
		if n > 0 {
			c.ring.free = c.ring.free[1:]
			err = c.send(message(kindFilled, uint32(i), uint32(n)))
		}
		if err == nil && end {
			err = c.send(message(kindFilled, 0, 0))
		}
		if err != nil && !errors.Is(err, errGone) {
			return a.res, err
		}
		// It is gone for a reason, which it may have told.
		end = end || err != nil
	}
	return a.res, nil
}

// atEnd tells the end of a stream from a truncated one: ReadFull says
// ErrUnexpectedEOF for both.
func atEnd(r io.Reader) error {
	var one [1]byte
	if n, err := r.Read(one[:]); n > 0 || err != io.EOF {
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
	return nil
}

func (c *child) send(b []byte) error {
	_, err := c.conn.Write(b)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return errGone
	}
	return err
}

func (c *child) receive(a *answer) error {
	b := make([]byte, maxMessage)
	n, err := c.conn.Read(b)
	if err == io.EOF || err == nil && n == 0 || errors.Is(err, unix.ECONNRESET) {
		return errGone
	}
	if err != nil {
		return err
	}
	freed, err := a.take(b[:n])
	if err == nil && freed != -1 {
		err = c.ring.release(freed)
	}
	return err
}
