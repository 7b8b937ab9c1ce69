// Package boltfile sees whether a bbolt file has been cut off or overwritten, before
// bbolt maps it: that ends the whole process by a signal, or by a panic of a goroutine
// of its own, which nobody can catch.
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The file begins with two pages of which each has a header and then a meta, the older
// of the two being what there was before the last change (bbolt, internal/common/meta.go):
//
//	 0 magic   4 version   8 size of a page  12 flags   16 root bucket (2 words)
//	32 list of free pages  40 pages in use   48 number of the change   56 FNV-1a of all this
const (
	header  = 16
	meta    = 64
	magic   = 0xED0CDAED
	version = 2
)

// Check returns what is wrong with a file: it is cut off or no bbolt file. A file that
// is not there is os.ErrNotExist; what is inside of its pages is not looked at.
func Check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	need, err := size(f)
	switch {
	case err != nil:
		return fmt.Errorf("%s is damaged: %w", path, err)
	case fi.Size() < need:
		return fmt.Errorf("%s is damaged: it has %d bytes of %d", path, fi.Size(), need)
	}
	return nil
}

// size is what the newer meta that is whole says the file has at least.
func size(f io.ReaderAt) (int64, error) {
	var newest uint64
	need := int64(-1)
	for _, page := range []int64{0, int64(os.Getpagesize())} {
		var b [meta]byte
		if _, err := f.ReadAt(b[:], page+header); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		sum := fnv.New64a()
		sum.Write(b[:56])
		order := binary.NativeEndian
		if order.Uint32(b[0:]) != magic || order.Uint32(b[4:]) != version || order.Uint64(b[56:]) != sum.Sum64() {
			continue
		}
		if change := order.Uint64(b[48:]); need < 0 || change > newest {
			newest, need = change, int64(order.Uint64(b[40:]))*int64(order.Uint32(b[8:]))
		}
	}
	if need < 0 {
		return 0, errors.New("it does not begin as a bbolt file does")
	}
	return need, nil
}
