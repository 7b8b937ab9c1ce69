package spawn_test

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
)

// forked runs a script's table in a plain fork.
func forked(t *testing.T, s *spawn.Script, stdio [3]*os.File) (returned []int64, failed int, errno unix.Errno) {
	t.Helper()
	plan, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	p, err := spawn.Load(plan.Memfd, plan.Files, stdio)
	if err != nil {
		t.Fatal(err)
	}
	return p.RunForked()
}

// TestTable holds the table to its meaning. It runs under an emulator too.
func TestTable(t *testing.T) {
	const close = unix.SYS_CLOSE
	closeBad := func(s *spawn.Script) *spawn.Call { return s.Call("close", "", close, spawn.Int(-1)) }
	dup := func(s *spawn.Script, a spawn.Arg) *spawn.Call { return s.Call("dup", "", unix.SYS_DUP, a) }
	const ebadf = -int64(unix.EBADF)
	const any = -1000
	for _, tc := range []struct {
		name   string
		build  func(s *spawn.Script)
		want   []int64
		failed int
		errno  unix.Errno
	}{
		{"nothing", func(*spawn.Script) {}, nil, -1, 0},
		{"stops at the first failure", func(s *spawn.Script) {
			s.Call("umask", "", unix.SYS_UMASK, spawn.Int(0o22))
			s.Call("umask", "", unix.SYS_UMASK, spawn.Int(0o77))
			closeBad(s)
			closeBad(s)
		}, []int64{any, 0o22, ebadf, -1}, 2, unix.EBADF},
		{"ignores what it is told to", func(s *spawn.Script) {
			closeBad(s).Ignore(unix.EPERM, unix.EBADF)
			closeBad(s).Ignore(unix.EPERM)
		}, []int64{ebadf, ebadf}, 1, unix.EBADF},
		{"skips after an ignored failure", func(s *spawn.Script) {
			closeBad(s).Ignore(unix.EBADF).SkipOnIgnored(2)
			closeBad(s)
			closeBad(s)
			s.Call("umask", "", unix.SYS_UMASK, spawn.Int(1))
			s.Call("umask", "", unix.SYS_UMASK, spawn.Int(1)).SkipOnIgnored(1).Ignore(unix.EBADF)
			s.Call("umask", "", unix.SYS_UMASK, spawn.Int(2))
		}, []int64{ebadf, -1, -1, any, 1, 1}, -1, 0},
		{"skips to the end", func(s *spawn.Script) {
			closeBad(s).Ignore(unix.EBADF).SkipOnIgnored(1)
			closeBad(s)
		}, []int64{ebadf, -1}, -1, 0},
		{"the result of a skipped call is no descriptor", func(s *spawn.Script) {
			closeBad(s).Ignore(unix.EBADF).SkipOnIgnored(1)
			skipped := dup(s, s.File(os.Stdin))
			dup(s, skipped.Result())
		}, []int64{ebadf, -1, ebadf}, 2, unix.EBADF},
		{"an errno of 64 or more is never ignored", func(s *spawn.Script) {
			// 88: the bit that a shift by the errno modulo 64 would find is set
			s.Call("listen", "", unix.SYS_LISTEN, s.File(testBinary(t))).Ignore(unix.ENOTSOCK % 64)
		}, []int64{-int64(unix.ENOTSOCK)}, 0, unix.ENOTSOCK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := spawn.New()
			tc.build(s)
			got, failed, errno := forked(t, s, [3]*os.File{})
			for i := range min(len(got), len(tc.want)) {
				if tc.want[i] == any && got[i] >= 0 {
					got[i] = any // the umask of whoever runs the test
				}
			}
			if !slices.Equal(got, tc.want) || failed != tc.failed || errno != tc.errno {
				t.Errorf("returned %d, failed %d, %v; want %d, %d, %v", got, failed, errno, tc.want, tc.failed, tc.errno)
			}
		})
	}
}

// TestTableArguments sees every kind of argument arrive, in every place.
func TestTableArguments(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	s := spawn.New()
	say := s.Str("text,")
	s.Call("write", "", unix.SYS_WRITE, s.File(w), say, spawn.Int(5))
	s.Call("write", "", unix.SYS_WRITE, s.Stdio(2), s.Bytes([]byte("bytes,")), spawn.Uint(6))
	// struct iovec: an address and a length each
	iov := s.Words(s.Str("words,"), spawn.Int(6), say, spawn.Int(5))
	fd := s.Call("dup", "", unix.SYS_DUP, s.File(w))
	n := s.Call("writev", "", unix.SYS_WRITEV, fd.Result(), iov, spawn.Int(2))
	buf := s.Bytes(make([]byte, 64))
	s.Call("getcwd", "", unix.SYS_GETCWD, buf, spawn.Int(64))
	s.Call("write", "", unix.SYS_WRITE, fd.Result(), s.Str("eleven byte|"), n.Result())
	// six arguments: mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, offset)
	m := s.Call("mmap", "", unix.SYS_MMAP, spawn.Int(0), spawn.Int(4096), spawn.Int(unix.PROT_READ),
		spawn.Int(unix.MAP_PRIVATE), s.File(testBinary(t)), spawn.Int(4096))
	s.Call("write", "", unix.SYS_WRITE, s.File(w), m.Result(), spawn.Int(16))
	if _, failed, errno := forked(t, s, [3]*os.File{2: w}); failed >= 0 {
		t.Fatalf("call %d: %v", failed, errno)
	}
	page := make([]byte, 16)
	if _, err := testBinary(t).ReadAt(page, 4096); err != nil {
		t.Fatal(err)
	}
	want := append([]byte("text,bytes,words,text,eleven byte"), page...)
	got := make([]byte, 100)
	k, err := r.Read(got)
	if err != nil || !bytes.Equal(got[:k], want) {
		t.Errorf("the child wrote %q, %v; want %q", got[:k], err, want)
	}
}

func testBinary(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
