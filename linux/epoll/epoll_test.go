package epoll_test

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/epoll"
)

func newSet(t *testing.T) *epoll.Set {
	s, err := epoll.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[1]) })
	return p[0], p[1]
}

// TestReady runs a file's function when there is something to read, one at a time, and
// again until it has enough.
func TestReady(t *testing.T) {
	s := newSet(t)
	const files, bytes = 50, 200
	var all sync.WaitGroup
	for range files {
		r, w := pipe(t)
		var running atomic.Int32
		got := 0
		all.Add(1)
		f, err := s.Add(r, func(f *epoll.File) bool {
			if running.Add(1) > 1 {
				t.Error("it runs twice at a time")
			}
			defer running.Add(-1)
			var b [1]byte // the rest waits
			if err := f.Use(func(fd int) error { _, err := unix.Read(fd, b[:]); return err }); err != nil {
				t.Error(err)
			}
			if got++; got == bytes {
				all.Done()
			}
			return got < bytes
		})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		go func() {
			for range bytes + 1 { // one more than it wants
				unix.Write(w, []byte{1})
			}
		}()
	}
	all.Wait()
}

// TestClose closes files whose open file somebody else has too, while they are ready: the
// number may be another's at once, and its function is not called for the old one.
func TestClose(t *testing.T) {
	s := newSet(t)
	for range 200 {
		r, w := pipe(t)
		other, err := unix.FcntlInt(uintptr(r), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		old, err := s.Add(r, func(f *epoll.File) bool {
			err := f.Use(func(fd int) error { return nil })
			return err == nil
		})
		if err != nil {
			t.Fatal(err)
		}
		unix.Write(w, []byte{1})
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		if err := old.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
		if err := old.Use(func(int) error { return nil }); !errors.Is(err, os.ErrClosed) {
			t.Errorf("used when closed: %v", err)
		}
		r2, w2 := pipe(t)
		came := make(chan struct{})
		fresh, err := s.Add(r2, func(f *epoll.File) bool { close(came); return false })
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-came:
			t.Fatal("it is ready, and nobody has written")
		default:
		}
		unix.Write(w2, []byte{1})
		<-came
		fresh.Close()
		unix.Close(other)
	}
}

// TestAddFails closes what cannot be waited for.
func TestAddFails(t *testing.T) {
	s := newSet(t)
	fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC) // always ready: epoll takes none
	if err != nil {
		t.Fatal(err)
	}
	if f, err := s.Add(fd, func(*epoll.File) bool { return false }); !errors.Is(err, unix.EPERM) || f != nil {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor: %v", err)
	}
	s.Close()
	r, _ := pipe(t)
	if _, err := s.Add(r, func(*epoll.File) bool { return false }); err == nil {
		t.Error("added to a set that is closed")
	}
}
