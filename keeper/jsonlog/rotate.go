package jsonlog

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// packed is the ending of a compressed predecessor.
const packed = ".gz"

// rotate renames <path> to <path>.1, that to <path>.2 and so on, dropping the last.
// Interrupted at any point it leaves a sequence that readers understand: numbers
// may be missing, the order holds. The first predecessor is never compressed: who
// follows the log may still read it.
func (w *Writer) rotate() error {
	if w.c.MaxFile == 1 {
		return w.Truncate(0)
	}
	w.packing.Wait()
	for i := w.c.MaxFile - 1; i > 0; i-- {
		if err := shift(rotated(w.c.Path, i-1), rotated(w.c.Path, i)); err != nil {
			return fmt.Errorf("cannot rotate log: %w", err)
		}
	}
	old := w.f
	if err := w.open(); err != nil {
		// It will be tried again, for every write: that must not drop a file each time.
		os.Rename(rotated(w.c.Path, 1), w.c.Path)
		return err
	}
	if w.c.Compress && w.c.MaxFile > 2 {
		w.packing.Go(func() { pack(rotated(w.c.Path, 2)) })
	}
	return old.Close()
}

// shift renames a predecessor, compressed or not. Where both are, the compressing was
// interrupted at its last step, and one is enough.
func shift(from, to string) error {
	err := os.Rename(from+packed, to+packed)
	if err == nil {
		os.Remove(from)
		os.Remove(to)
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err = os.Rename(from, to); err == nil {
		os.Remove(to + packed)
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// pack compresses a predecessor. When that fails it stays as it is.
func pack(path string) {
	in, err := os.Open(path)
	if err != nil {
		return // there is none yet
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp")
	if err != nil {
		return
	}
	defer os.Remove(out.Name())
	defer out.Close()
	z, _ := gzip.NewWriterLevel(out, gzip.BestSpeed) // a level that exists
	if _, err = io.Copy(z, in); err != nil || z.Close() != nil {
		return
	}
	if out.Chmod(0o640) == nil && os.Rename(out.Name(), path+packed) == nil {
		os.Remove(path)
	}
}

// rotated is the name of the i-th predecessor of a log; 0 is the log itself.
func rotated(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}

// openRotated opens the i-th predecessor and tells whether it is compressed.
func openRotated(path string, i int) (f *os.File, isPacked bool, err error) {
	f, err = os.Open(rotated(path, i))
	if i > 0 && errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(rotated(path, i) + packed)
		return f, err == nil, err
	}
	return f, false, err
}

// unpack gives the content of a compressed predecessor as a file without a name.
func unpack(in *os.File) (*os.File, error) {
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("cannot read log: %w", err)
	}
	out, err := os.CreateTemp("", "log")
	if err != nil {
		return nil, fmt.Errorf("cannot read log: %w", err)
	}
	os.Remove(out.Name())
	if _, err = io.Copy(out, z); err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("cannot read log: %w", err)
	}
	return out, nil
}
