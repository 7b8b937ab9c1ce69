package mount

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenRegularOpensNothingElse watches what is opened: a FIFO stands for a device, which
// only root can make.
func TestOpenRegularOpensNothingElse(t *testing.T) {
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	opened := watch(t, fifo)
	for name, flags := range map[string]int{"fifo": 0, "link": unix.O_NOFOLLOW, ".": 0} {
		if _, _, err := OpenRegular(root, name, flags); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if opened() {
		t.Error("the FIFO was opened")
	}
	f, st, err := OpenRegular(root, "link", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [10]byte
	if n, err := f.Read(b[:]); err != nil || string(b[:n]) != "content" || st.Size != 7 {
		t.Errorf("%q, %v, %d bytes", b[:n], err, st.Size)
	}
}

// watch returns what tells whether a file was opened.
func watch(t *testing.T, path string) (opened func() bool) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		var b [256]byte
		n, err := unix.Read(fd, b[:])
		if err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		return n > 0
	}
}
