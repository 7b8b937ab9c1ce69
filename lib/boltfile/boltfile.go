// Package boltfile sees whether a bbolt file has been cut off, overwritten, or damaged
// within its pages, before bbolt maps it: that ends the whole process by a signal, or by a
// panic of a goroutine of its own, which nobody can catch.
package boltfile

import (
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

// Check returns what is wrong with a file: it is cut off or no bbolt file, or a page is not
// what the others say it is. A file that is not there is os.ErrNotExist. Keys and values
// may be wrong all the same, and only who reads them sees that. It reads all pages, and
// nobody may write them meanwhile.
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
	m, err := newest(f)
	if need := int64(m.pages) * m.size; err == nil && fi.Size() < need {
		err = fmt.Errorf("it has %d bytes of %d", fi.Size(), need)
	}
	if err == nil {
		err = (&walk{f: f, size: m.size, pages: m.pages}).damage(m.root, m.free)
	}
	if err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

// start is what a meta says of the file: of the newer one that is whole.
type start struct {
	change     uint64
	size       int64 // of a page
	pages      uint64
	root, free uint64 // pages
}

func newest(f io.ReaderAt) (m start, err error) {
	found := false
	for _, page := range []int64{0, int64(os.Getpagesize())} {
		var b [meta]byte
		if _, err := f.ReadAt(b[:], page+header); err != nil && !errors.Is(err, io.EOF) {
			return m, err
		}
		sum := fnv.New64a()
		sum.Write(b[:56])
		if order.Uint32(b[0:]) != magic || order.Uint32(b[4:]) != version || order.Uint64(b[56:]) != sum.Sum64() {
			continue
		}
		if change := order.Uint64(b[48:]); !found || change > m.change {
			m, found = start{change, int64(order.Uint32(b[8:])), order.Uint64(b[40:]), order.Uint64(b[16:]), order.Uint64(b[32:])}, true
		}
	}
	if !found {
		return m, errors.New("it does not begin as a bbolt file does")
	}
	return m, nil
}
