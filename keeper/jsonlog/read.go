package jsonlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// ReadOptions says which entries are wanted.
type ReadOptions struct {
	Tail   int       // the last n entries; negative: all
	Since  time.Time // entries before are left out; zero: none
	Until  time.Time // entries after are left out; zero: none
	Follow bool      // wait for more at the end, until Done is closed or the context ends
	Done   <-chan struct{}
	Paused func() error // with Follow: called when all there is was passed on; nil: nothing is
}

// Read calls f for each entry of the log at path and its rotated predecessors,
// oldest first. A log that does not exist is empty. What is not an entry is passed
// over. With Follow, Read returns nil when Done is closed and everything was read,
// or Until has passed.
func Read(ctx context.Context, path string, o ReadOptions, f func(Entry) error) error {
	r, err := Open(path, o)
	if err != nil {
		return err
	}
	return r.Run(ctx, f)
}

// Open finds the place where reading begins, so that it does not matter what is
// written between Open and Run.
func Open(path string, o ReadOptions) (*Reader, error) {
	files, err := openAll(path)
	if err != nil {
		return nil, err
	}
	first, err := seekTail(files, o.Tail)
	if err != nil {
		closeFiles(files)
		return nil, fmt.Errorf("cannot read log: %w", err)
	}
	closeFiles(files[:first])
	return &Reader{path: path, o: o, files: files[first:]}, nil
}

// Run reads as Read does, and closes the log.
func (r *Reader) Run(ctx context.Context, f func(Entry) error) error {
	defer r.Close()
	r.f = f
	err := r.read(ctx)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

var errEnough = errors.New("past the last entry wanted")

// maxEntry is the longest line taken for an entry: MaxLine escaped, and attributes.
const maxEntry = 1 << 20

// Reader is a log being read.
type Reader struct {
	path  string
	o     ReadOptions
	f     func(Entry) error
	files []source // not begun yet, oldest first

	file *os.File // the one being read
	at   int64    // where in it
	dec  decoder
	buf  []byte // read, not decoded
	skip bool   // in a line that is too long

	came   int  // bytes since the follower was woken
	passed bool // an entry was passed on since the last pause
}

// Close closes a log, Run or not.
func (r *Reader) Close() {
	closeFiles(r.files)
	r.files = nil
	r.closeFile()
}

func (r *Reader) closeFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

func (r *Reader) read(ctx context.Context) error {
	for len(r.files) > 0 {
		if err := r.files[0].ready(); err != nil {
			return err
		}
		r.next(r.files[0].File)
		r.files = r.files[1:]
		var err error
		if r.at, err = r.file.Seek(0, io.SeekCurrent); err != nil { // the tail's place
			return fmt.Errorf("cannot read log: %w", err)
		}
		if err := r.drain(ctx); err != nil {
			return err
		}
	}
	if !r.o.Follow {
		return nil
	}
	return r.follow(ctx)
}

// next continues with another file.
func (r *Reader) next(f *os.File) {
	r.closeFile()
	r.file, r.at, r.buf, r.skip = f, 0, r.buf[:0], false
}

// drain reads the file to its present end.
func (r *Reader) drain(ctx context.Context) error {
	for {
		if len(r.buf) > maxEntry {
			r.buf, r.skip = r.buf[:0], true
		}
		if cap(r.buf)-len(r.buf) < 32<<10 {
			r.buf = append(make([]byte, 0, 2*cap(r.buf)+64<<10), r.buf...)
		}
		room := r.buf[len(r.buf):cap(r.buf)]
		n, err := r.file.Read(room)
		fresh := len(r.buf)
		r.buf = r.buf[:fresh+n]
		r.at, r.came = r.at+int64(n), r.came+n
		if err := r.entries(fresh); err != nil {
			return err
		}
		if err == io.EOF || err == nil && n < len(room) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read log: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// entries passes on the whole lines in buf; there is no newline before fresh.
func (r *Reader) entries(fresh int) error {
	start := 0
	for {
		i := bytes.IndexByte(r.buf[max(start, fresh):], '\n')
		if i < 0 {
			break
		}
		end := max(start, fresh) + i
		line := r.buf[start:end]
		start = end + 1
		if r.skip {
			r.skip = false
			continue
		}
		e, ok := r.dec.decode(line)
		if !ok || e.Time.Before(r.o.Since) {
			continue
		}
		if !r.o.Until.IsZero() && e.Time.After(r.o.Until) {
			return errEnough
		}
		e.Size = len(line) + 1
		r.passed = true
		if err := r.f(e); err != nil {
			return err
		}
	}
	r.buf = r.buf[:copy(r.buf, r.buf[start:])]
	return nil
}

// source is a file of a log that is being read.
type source struct {
	*os.File
	packed bool
}

// ready unpacks a compressed file, which is not done for files that nobody reads.
func (s *source) ready() error {
	if !s.packed {
		return nil
	}
	f, err := unpack(s.File)
	if err != nil {
		return err
	}
	s.File, s.packed = f, false
	return nil
}

// openAll opens the files of a log, oldest first. A rotation meanwhile may show a
// file under two names; it is taken once.
func openAll(path string) (files []source, err error) {
	var infos []os.FileInfo
	missing := 0
	for i := 0; missing < 2; i++ { // an interrupted rotation leaves one number out
		f, isPacked, err := openRotated(path, i)
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		var fi os.FileInfo
		if err == nil {
			fi, err = f.Stat()
		}
		if err != nil {
			closeFiles(files)
			return nil, fmt.Errorf("cannot read log: %w", err)
		}
		if len(infos) > 0 && os.SameFile(infos[len(infos)-1], fi) {
			f.Close()
			continue
		}
		files, infos = append(files, source{f, isPacked}), append(infos, fi)
	}
	slices.Reverse(files)
	return files, nil
}

func closeFiles(files []source) {
	for _, f := range files {
		f.Close()
	}
}
