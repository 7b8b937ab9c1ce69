package jsonlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// ReadOptions says which entries are wanted.
type ReadOptions struct {
	Tail   int       // the last n entries; negative: all
	Since  time.Time // entries before are left out; zero: none
	Until  time.Time // entries after are left out; zero: none
	Follow bool      // wait for more at the end, until Done is closed or the context ends
	Done   <-chan struct{}
}

// Read calls f for each entry of the log at path and its rotated predecessors,
// oldest first. A log that does not exist is empty. What is not an entry is passed
// over. With Follow, Read returns nil when Done is closed and everything was read,
// or Until has passed.
func Read(ctx context.Context, path string, o ReadOptions, f func(Entry) error) error {
	r := &reader{path: path, o: o, f: f}
	defer r.close()
	err := r.read(ctx)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

var errEnough = errors.New("past the last entry wanted")

// maxEntry is the longest line taken for an entry: MaxLine escaped, and attributes.
const maxEntry = 1 << 20

type reader struct {
	path string
	o    ReadOptions
	f    func(Entry) error

	file *os.File // the one being read
	dec  decoder
	buf  []byte // read, not decoded
	skip bool   // in a line that is too long
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
	}
}

func (r *reader) read(ctx context.Context) error {
	files, err := openAll(r.path)
	if err != nil {
		return err
	}
	first, err := seekTail(files, r.o.Tail)
	if err != nil {
		closeFiles(files)
		return fmt.Errorf("cannot read log: %w", err)
	}
	for i, f := range files {
		if i < first {
			f.Close()
			continue
		}
		r.next(f)
		if err := r.drain(ctx); err != nil {
			closeFiles(files[i+1:])
			return err
		}
	}
	if !r.o.Follow {
		return nil
	}
	return r.follow(ctx)
}

// next continues with another file.
func (r *reader) next(f *os.File) {
	r.close()
	r.file, r.buf, r.skip = f, r.buf[:0], false
}

// drain reads the file to its present end.
func (r *reader) drain(ctx context.Context) error {
	for {
		if len(r.buf) > maxEntry {
			r.buf, r.skip = r.buf[:0], true
		}
		if cap(r.buf)-len(r.buf) < 32<<10 {
			r.buf = append(make([]byte, 0, 2*cap(r.buf)+64<<10), r.buf...)
		}
		n, err := r.file.Read(r.buf[len(r.buf):cap(r.buf)])
		fresh := len(r.buf)
		r.buf = r.buf[:fresh+n]
		if err := r.entries(fresh); err != nil {
			return err
		}
		if err == io.EOF {
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
func (r *reader) entries(fresh int) error {
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
		if err := r.f(e); err != nil {
			return err
		}
	}
	r.buf = r.buf[:copy(r.buf, r.buf[start:])]
	return nil
}

// openAll opens the files of a log, oldest first. A rotation meanwhile may show a
// file under two names; it is taken once.
func openAll(path string) (files []*os.File, err error) {
	var infos []os.FileInfo
	missing := 0
	for i := 0; missing < 2; i++ { // an interrupted rotation leaves one number out
		f, err := os.Open(rotated(path, i))
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
		files, infos = append(files, f), append(infos, fi)
	}
	for i, j := 0, len(files)-1; i < j; i, j = i+1, j-1 {
		files[i], files[j] = files[j], files[i]
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
