package keeper

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A journal is a page of memory, shared with a file, that says of each stream which
// bytes are on their way from the pipe into the log. It survives the keeper, so that
// its successor knows at whatever instruction it was killed what is in the log, what
// is still in the pipe, and what is in both.
//
//	idle       the log has nothing that is still in the pipe
//	writing    entries are being written at offset at: enc bytes, holding n of the pipe
//	written    they are written; the n bytes are being taken out of the pipe
//
// Whether the n bytes are out of the pipe shows in took: the read that takes them
// puts the first of them there, where its complement was before.
type journal struct{ mem []byte }

type journalEntry struct {
	phase       atomic.Uint32
	first, took byte
	_           [2]byte
	n           uint64
	at          int64
	enc         int64
	taken       atomic.Uint64 // bytes that have left the pipe since there is a journal
	next        uint64        // what taken will be
	_           [2]uint64
}

const (
	journalIdle uint32 = iota
	journalWriting
	journalWritten

	journalPage = 4096
)

func openJournal(path string, size int) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open journal: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, fmt.Errorf("cannot open journal: %w", err)
	}
	if err := allocate(f, 0, size); err != nil {
		return nil, fmt.Errorf("cannot open journal: %w", err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map journal %s: %w", path, err)
	}
	return &journal{mem}, nil
}

// allocate gives a part of a file its room on the disk. Memory that is shared with a file
// must have it before it is touched: where the disk is full the kernel sends SIGBUS, which
// would end the keeper.
func allocate(f *os.File, at, size int) error {
	err := unix.Fallocate(int(f.Fd()), 0, int64(at), int64(size))
	for err == unix.EINTR {
		err = unix.Fallocate(int(f.Fd()), 0, int64(at), int64(size))
	}
	if err == nil || err == unix.EOPNOTSUPP {
		return nil
	}
	return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
}

func (j *journal) entry(stream int) *journalEntry {
	return (*journalEntry)(unsafe.Pointer(&j.mem[stream*int(unsafe.Sizeof(journalEntry{}))]))
}

// took is the byte of the stream's entry into which taking from the pipe begins.
func (j *journal) took(stream int) []byte {
	off := stream*int(unsafe.Sizeof(journalEntry{})) + int(unsafe.Offsetof(journalEntry{}.took))
	return j.mem[off : off+1]
}

func (j *journal) close() { unix.Munmap(j.mem) }

// begin records that entries of enc bytes, made of n bytes from the pipe of which
// first is the first, are about to be written at offset at.
func (e *journalEntry) begin(first byte, n int, at int64, enc int) {
	e.first, e.took = first, ^first
	e.n, e.at, e.enc = uint64(n), at, int64(enc)
	e.next = e.taken.Load() + e.n
	e.phase.Store(journalWriting)
}

func (e *journalEntry) written() { e.phase.Store(journalWritten) }

// done ends what begin began: the n bytes are out of the pipe.
func (e *journalEntry) done() {
	e.taken.Store(e.next)
	e.phase.Store(journalIdle)
}

// settled is done or undo.
func (e *journalEntry) settled(taken bool) {
	if taken {
		e.done()
	} else {
		e.undo()
	}
}

// undo ends it too: the bytes are still in the pipe.
func (e *journalEntry) undo() { e.phase.Store(journalIdle) }
