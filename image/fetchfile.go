package image

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// A blob of partsFrom bytes or more is fetched in parts of partSize.
	partsFrom = 64 << 20
	partSize  = 16 << 20
	// staleAfter is how long a blob that nobody goes on fetching is kept.
	staleAfter = 7 * 24 * time.Hour
)

// partial is a blob that is being fetched, part by part, each from its beginning:
//
//	0            the blob's bytes, with holes
//	size         "hoyparts"
//	size + 8     size of a part, bytes (uint64, little endian, as all that follow)
//	size + 16    bytes that are there of each part
//
// A file that ends with the blob has all of it. The tail is written after the bytes it
// counts, so a process may be killed at any moment. After a loss of power it may count
// what never came to the disk: only the digest says whether a resumed blob is right.
type partial struct {
	f       *os.File
	size    int64
	part    int64 // bytes of a part
	resumed bool  // what an earlier fetch has left is in it

	mu      sync.Mutex
	have    []int64       // bytes of each part, guarded by mu
	front   int           // parts before it are whole, guarded by mu
	changed chan struct{} // closed and replaced whenever more is there, guarded by mu
}

const (
	partialMagic = "hoyparts"
	partialHead  = 16 // bytes before the counts
)

func (s *Store) partials() string { return filepath.Join(s.o.Root, "partial") }

func (s *Store) partialPath(d digest.Digest) string {
	return filepath.Join(s.partials(), d.Algorithm().String()+"-"+d.Encoded())
}

// openPartial opens what is there of a blob, or begins it.
func openPartial(path string, size int64) (*partial, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &partial{f: f, size: size, part: max(size, 1), changed: make(chan struct{})}
	if size >= partsFrom {
		p.part = partSize
	}
	p.have = make([]int64, (size+p.part-1)/p.part)
	if err := p.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return p, nil
}

// read takes up what an earlier fetch has left; what makes no sense is begun anew.
func (p *partial) read() error {
	st, err := p.f.Stat()
	if err != nil {
		return err
	}
	if st.Size() == p.size && p.size > 0 {
		for i := range p.have {
			p.have[i] = p.length(i)
		}
		p.front, p.resumed = len(p.have), true
		return nil
	}
	tail := make([]byte, partialHead+8*len(p.have))
	n, err := p.f.ReadAt(tail, p.size)
	if err != nil && err != io.EOF {
		return err
	}
	if n == len(tail) && string(tail[:8]) == partialMagic && binary.LittleEndian.Uint64(tail[8:]) == uint64(p.part) {
		for i := range p.have {
			p.have[i] = min(int64(binary.LittleEndian.Uint64(tail[partialHead+8*i:])), p.length(i))
			p.resumed = p.resumed || p.have[i] > 0
		}
		p.forward()
		return nil
	}
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	tail = append([]byte(partialMagic), binary.LittleEndian.AppendUint64(nil, uint64(p.part))...)
	tail = append(tail, make([]byte, 8*len(p.have))...)
	_, err = p.f.WriteAt(tail, p.size)
	return err
}

// length is how many bytes part i has when it is whole.
func (p *partial) length(i int) int64 { return min(p.part, p.size-int64(i)*p.part) }

// forward moves the front over whole parts. The caller holds mu, or has p alone.
func (p *partial) forward() {
	for p.front < len(p.have) && p.have[p.front] == p.length(p.front) {
		p.front++
	}
}

// missing is the range of part i that is not there.
func (p *partial) missing(i int) (off, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(i)*p.part + p.have[i], p.length(i) - p.have[i]
}

// next is the first part from i on that is not whole; len(p.have): none.
func (p *partial) next(i int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i < len(p.have) && p.have[i] == p.length(i) {
		i++
	}
	return i
}

// write adds bytes at off: where a part's bytes end, or where they are there already.
func (p *partial) write(b []byte, off int64) error {
	for len(b) > 0 {
		i := int(off / p.part)
		n := min(int64(len(b)), int64(i)*p.part+p.length(i)-off)
		if _, err := p.f.WriteAt(b[:n], off); err != nil {
			return err
		}
		if err := p.count(i, off+n-int64(i)*p.part); err != nil {
			return err
		}
		b, off = b[n:], off+n
	}
	return nil
}

func (p *partial) count(i int, have int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have <= p.have[i] {
		return nil
	}
	p.have[i] = have
	if i == p.front {
		p.forward()
		close(p.changed)
		p.changed = make(chan struct{})
	}
	_, err := p.f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(have)), p.size+partialHead+8*int64(i))
	return err
}

// ready is how many bytes are there from the blob's beginning on; more is closed when
// there are more.
func (p *partial) ready() (n int64, more <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.front == len(p.have) {
		return p.size, p.changed
	}
	return int64(p.front)*p.part + p.have[p.front], p.changed
}

// fetched is how many bytes are there in all.
func (p *partial) fetched() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.have {
		n += h
	}
	return n
}

// finish cuts the tail off and makes the blob durable.
func (p *partial) finish() error {
	if err := p.f.Truncate(p.size); err != nil {
		return err
	}
	return p.f.Sync()
}
