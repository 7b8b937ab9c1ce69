package jsonlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// What a log may take when nothing else is said: Docker's unlimited logs fill disks.
const (
	DefaultMaxSize = 20 << 20
	DefaultMaxFile = 3
)

// Config says where a log is and how big it may get.
type Config struct {
	Path    string
	MaxSize int64             // bytes in one file; 0: DefaultMaxSize, negative: unlimited
	MaxFile int               // files, the current one included; 0: DefaultMaxFile
	Attrs   map[string]string // written with every entry

	Compress bool // predecessors from the second on, by gzip
}

// A Writer appends to a log. It divides writing into steps, so that its user can
// record between them how far it has come:
//
//	at, err := w.Begin()                       // rotates when the file is full
//	enc, n := w.Encode(buf, Stdout, b, now, false) // n bytes of b make enc
//	err = w.Commit(enc)                        // written at offset at
//
// It is not safe for concurrent use.
type Writer struct {
	c     Config
	attrs []byte
	f     *os.File
	size  int64

	packing sync.WaitGroup // a predecessor is being compressed
}

// Append opens the log for appending, creating it when missing. The rest of an entry
// that a power failure cut short is removed.
func Append(c Config) (*Writer, error) {
	if c.MaxSize == 0 {
		c.MaxSize = DefaultMaxSize
	}
	if c.MaxFile <= 0 {
		c.MaxFile = DefaultMaxFile
	}
	w := &Writer{c: c}
	if len(c.Attrs) > 0 {
		b, err := json.Marshal(c.Attrs)
		if err != nil {
			return nil, fmt.Errorf("cannot write log attributes: %w", err)
		}
		w.attrs = b
	}
	if err := w.open(); err != nil {
		return nil, err
	}
	if w.size > 0 {
		if err := w.repair(); err != nil {
			w.f.Close()
			return nil, fmt.Errorf("cannot repair log %s: %w", c.Path, err)
		}
	}
	return w, nil
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.c.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("cannot open log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("cannot open log: %w", err)
	}
	w.f, w.size = f, fi.Size()
	return nil
}

// repair cuts off what follows the last newline, if anything.
func (w *Writer) repair() error {
	end, buf := w.size, make([]byte, 4096)
	for end > 0 {
		n := min(end, int64(len(buf)))
		if _, err := w.f.ReadAt(buf[:n], end-n); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			end = end - n + int64(i) + 1
			break
		}
		end -= n
	}
	if end == w.size {
		return nil
	}
	return w.Truncate(end)
}

// Size is the length of the current file.
func (w *Writer) Size() int64 { return w.size }

// Truncate cuts the current file to size, undoing a Commit that was interrupted.
func (w *Writer) Truncate(size int64) error {
	if err := w.f.Truncate(size); err != nil {
		return err
	}
	w.size = size
	return nil
}

// Begin makes room for an entry and returns the offset at which it will be.
func (w *Writer) Begin() (int64, error) {
	if w.c.MaxSize > 0 && w.size >= w.c.MaxSize {
		if err := w.rotate(); err != nil {
			return 0, err
		}
	}
	return w.size, nil
}

// Encode appends to dst the entries of the lines of b, up to the size at which the
// file is full; n is how much of b they hold. The start of an unfinished line is
// left out, unless it is MaxLine long or flush says that no more will come.
func (w *Writer) Encode(dst []byte, stream string, b []byte, at time.Time, flush bool) (enc []byte, n int) {
	before := len(dst)
	for n < len(b) {
		l := next(b[n:], flush)
		if l == 0 {
			break
		}
		dst = AppendEntry(dst, stream, b[n:n+l], w.attrs, at)
		n += l
		if w.c.MaxSize > 0 && w.size+int64(len(dst)-before) >= w.c.MaxSize {
			break
		}
	}
	return dst, n
}

// Commit appends what Encode made.
func (w *Writer) Commit(enc []byte) error {
	n, err := w.f.Write(enc)
	w.size += int64(n)
	if err != nil && n > 0 && w.Truncate(w.size-int64(n)) != nil {
		return fmt.Errorf("cannot write log, and it ends in a part of an entry: %w", err)
	}
	return err
}

// Write logs b at once: Begin, Encode and Commit until b is written.
func (w *Writer) Write(stream string, b []byte, at time.Time) error {
	for len(b) > 0 {
		if _, err := w.Begin(); err != nil {
			return err
		}
		enc, n := w.Encode(nil, stream, b, at, true)
		if err := w.Commit(enc); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Close closes the file.
func (w *Writer) Close() error {
	w.packing.Wait()
	return w.f.Close()
}
