// Package epoll waits for many descriptors with one goroutine, so that one that is idle
// costs a few hundred bytes and no stack.
package epoll

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Set is a set of files that are waited for (epoll(7)).
//
//	f, err := set.Add(fd, func(f *File) bool {
//		… // read until EAGAIN
//		return true // wait for more
//	})
//	…
//	f.Close()
//
// When a file can be read, its function runs on a goroutine of its own, at most one for
// each file at a time.
type Set struct {
	f   *os.File
	raw syscall.RawConn

	mu    sync.Mutex
	files map[uint64]*File
	last  uint64
}

// New makes a set that is empty. It waits until it is closed.
func New() (*Set, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// Go's own poller waits for the set: the goroutine holds no thread.
	unix.SetNonblock(fd, true)
	s := &Set{f: os.NewFile(uintptr(fd), "epoll"), files: map[uint64]*File{}}
	if s.raw, err = s.f.SyscallConn(); err != nil {
		s.f.Close()
		return nil, err
	}
	go s.run()
	return s, nil
}

// Close ends the waiting. Files that were added are not closed.
func (s *Set) Close() error { return s.f.Close() }

func (s *Set) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := s.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return // closed
		}
		for _, e := range events[:max(n, 0)] {
			s.mu.Lock()
			f := s.files[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32]
			s.mu.Unlock()
			if f != nil {
				go f.serve()
			}
		}
	}
}

// File is a descriptor that is waited for.
type File struct {
	set   *Set
	key   uint64 // not the descriptor: that of a closed file may be another's already
	ready func(*File) bool

	mu sync.RWMutex
	fd int // -1: closed
}

// Add takes fd, which is closed with the File, or at once if that cannot be added.
// ready runs when fd can be read, maybe before Add returns, and again until it returns
// false.
func (s *Set) Add(fd int, ready func(*File) bool) (*File, error) {
	f := &File{set: s, ready: ready, fd: fd}
	s.mu.Lock()
	s.last++
	f.key = s.last
	s.files[f.key] = f
	s.mu.Unlock()
	if err := f.arm(unix.EPOLL_CTL_ADD); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *File) arm(op int) (err error) {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(uint32(f.key)), Pad: int32(uint32(f.key >> 32))}
	cerr := f.set.raw.Control(func(epoll uintptr) {
		err = f.Use(func(fd int) error { return unix.EpollCtl(int(epoll), op, fd, &e) })
	})
	return errors.Join(cerr, os.NewSyscallError("epoll_ctl", err))
}

func (f *File) serve() {
	if f.ready(f) {
		f.arm(unix.EPOLL_CTL_MOD)
	}
}

// Use runs a system call on the descriptor, which stays open meanwhile. The call must
// not wait: Close does for it.
func (f *File) Use(call func(fd int) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return os.ErrClosed
	}
	return call(f.fd)
}

// Close closes the descriptor. ready may run once more, and finds it closed.
func (f *File) Close() error {
	f.set.forget(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return os.ErrClosed
	}
	// Others may have the same open file, which would stay in the set.
	f.set.raw.Control(func(epoll uintptr) { unix.EpollCtl(int(epoll), unix.EPOLL_CTL_DEL, f.fd, nil) })
	err := unix.Close(f.fd)
	f.fd = -1
	return err
}

func (s *Set) forget(f *File) {
	s.mu.Lock()
	delete(s.files, f.key)
	s.mu.Unlock()
}
