package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A page begins with its header; elements follow, and behind them keys and values, to
// which they point from where they are themselves (bbolt, internal/common/page.go):
//
//	0 number   8 flags (2)   10 elements (2)   12 pages more that belong to it (4)
//	branch     0 where (4)   4 key (4)         8 page
//	leaf       0 flags (4)   4 where (4)       8 key (4)    12 value (4)
//
// The value of a leaf with the flag 1 is a bucket: the page of its root and a counter, or
// 0, and then a leaf page follows in the value.
const (
	element      = 16
	bucketHeader = 16

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	noFreelist = ^uint64(0)
	deepest    = 64 // a tree of so many levels would be larger than any file
)

var order = binary.NativeEndian

// walk goes through all pages that a database uses, as bbolt would, which trusts what it
// finds there, and panics.
type walk struct {
	f     io.ReaderAt
	size  int64  // of a page
	pages uint64 // in use
	seen  []bool
}

// damage returns what is wrong within the pages: each is reached once, says what it is,
// and holds what its elements point to, keys in their order.
func (w *walk) damage(root, free uint64) error {
	w.seen = make([]bool, w.pages)
	if err := w.tree(root, nil, nil, 0); err != nil {
		return err
	}
	if free == noFreelist {
		return nil
	}
	p, flags, count, err := w.page(free)
	if err != nil {
		return err
	}
	if flags != freelistPage {
		return fmt.Errorf("page %d is no list of free pages", free)
	}
	ids := p[header:]
	if count == 0xffff { // as many as do not fit into the header
		if count, ids = int(min(order.Uint64(ids), uint64(len(ids)))), ids[8:]; count < 0 {
			return fmt.Errorf("page %d is cut off", free)
		}
	}
	if count*8 > len(ids) {
		return fmt.Errorf("page %d is cut off", free)
	}
	for ; count > 0; count-- {
		if err := w.claim(order.Uint64(ids), 0); err != nil {
			return err
		}
		ids = ids[8:]
	}
	return nil
}

// claim marks a page, and those that belong to it, as used for one thing.
func (w *walk) claim(id uint64, more uint32) error {
	if id < 2 || id >= w.pages || uint64(more) >= w.pages-id {
		return fmt.Errorf("there is no page %d", id)
	}
	for i := id; i <= id+uint64(more); i++ {
		if w.seen[i] {
			return fmt.Errorf("page %d is used twice", i)
		}
		w.seen[i] = true
	}
	return nil
}

// page reads a page with those that belong to it.
func (w *walk) page(id uint64) (b []byte, flags uint16, count int, err error) {
	if id < 2 || id >= w.pages {
		return nil, 0, 0, fmt.Errorf("there is no page %d", id)
	}
	b = make([]byte, w.size)
	if _, err := w.f.ReadAt(b, int64(id)*w.size); err != nil {
		return nil, 0, 0, err
	}
	if order.Uint64(b) != id {
		return nil, 0, 0, fmt.Errorf("page %d says that it is another", id)
	}
	more := order.Uint32(b[12:])
	if err := w.claim(id, more); err != nil {
		return nil, 0, 0, err
	}
	if more > 0 {
		b = make([]byte, (int64(more)+1)*w.size)
		if _, err := w.f.ReadAt(b, int64(id)*w.size); err != nil {
			return nil, 0, 0, err
		}
	}
	return b, order.Uint16(b[8:]), int(order.Uint16(b[10:])), nil
}

// tree goes through the pages below one, whose keys are from first on and before end; nil:
// any.
func (w *walk) tree(id uint64, first, end []byte, depth int) error {
	if depth > deepest {
		return errors.New("its tree has no end")
	}
	b, flags, count, err := w.page(id)
	if err != nil {
		return err
	}
	switch {
	case flags == leafPage:
		err = w.leaf(b, count, first, end, depth)
	case flags == branchPage && count > 0:
		err = w.branch(b, count, first, end, depth)
	default:
		return fmt.Errorf("page %d is no part of a tree", id)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *walk) branch(b []byte, count int, first, end []byte, depth int) error {
	keys, children := make([][]byte, count+1), make([]uint64, count)
	for i := range count {
		e, err := at(b, count, i)
		if err != nil {
			return err
		}
		if keys[i], err = part(e, count-i, order.Uint32(e), order.Uint32(e[4:])); err != nil {
			return err
		}
		children[i] = order.Uint64(e[8:])
	}
	keys[count] = end
	if err := ordered(keys[:count], first, end); err != nil {
		return err
	}
	for i, child := range children {
		if err := w.tree(child, keys[i], keys[i+1], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) leaf(b []byte, count int, first, end []byte, depth int) error {
	keys := make([][]byte, count)
	for i := range count {
		e, err := at(b, count, i)
		if err != nil {
			return err
		}
		flags, where, key := order.Uint32(e), order.Uint32(e[4:]), order.Uint32(e[8:])
		if keys[i], err = part(e, count-i, where, key); err != nil {
			return err
		}
		value, err := part(e, count-i, where+key, order.Uint32(e[12:]))
		switch {
		case err != nil || where+key < where:
			return errors.New("a value is outside of its page")
		case flags > 1:
			return errors.New("a value is neither data nor a bucket")
		case flags == 1:
			if err := w.bucket(value, depth+1); err != nil {
				return err
			}
		}
	}
	return ordered(keys, first, end)
}

func (w *walk) bucket(value []byte, depth int) error {
	if len(value) < bucketHeader {
		return errors.New("a bucket is cut off")
	}
	if root := order.Uint64(value); root != 0 {
		return w.tree(root, nil, nil, depth)
	}
	b := value[bucketHeader:]
	if depth > deepest || len(b) < header || order.Uint16(b[8:]) != leafPage || order.Uint32(b[12:]) != 0 {
		return errors.New("a bucket within its page is none")
	}
	return w.leaf(b, int(order.Uint16(b[10:])), nil, nil, depth)
}

// at is the page from an element on.
func at(b []byte, count, i int) ([]byte, error) {
	if header+count*element > len(b) {
		return nil, errors.New("there is no place for its elements")
	}
	return b[header+i*element:], nil
}

// part is what an element points to, behind it and the elements that follow.
func part(e []byte, elements int, where, n uint32) ([]byte, error) {
	if int64(where) < int64(elements)*element || int64(where)+int64(n) > int64(len(e)) {
		return nil, errors.New("a key is outside of its page")
	}
	return e[where : where+n], nil
}

// ordered wants keys that are there, each after the one before it.
func ordered(keys [][]byte, first, end []byte) error {
	for i, k := range keys {
		switch {
		case len(k) == 0:
			return errors.New("a key is empty")
		case i == 0 && first != nil && bytes.Compare(k, first) < 0, i > 0 && bytes.Compare(keys[i-1], k) >= 0, end != nil && bytes.Compare(k, end) >= 0:
			return errors.New("its keys are not in order")
		}
	}
	return nil
}
