package mount

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotRegular is the error for what is there and is no regular file.
var ErrNotRegular = errors.New("it is not a regular file")

// OpenRegular opens a regular file for reading, its path resolved as by OpenIn; flags may
// have O_NOFOLLOW. Whatever else is there is not opened at all: a device does something
// when it is, a watchdog begins to count, and whose tree it is decides what is there, an
// image, or a container that runs. st is of the file that is open.
func OpenRegular(root *os.File, path string, flags int) (f *os.File, st unix.Stat_t, err error) {
	p, err := OpenIn(root, path, flags|unix.O_PATH)
	if err != nil {
		return nil, st, err
	}
	defer runtime.KeepAlive(p)
	defer p.Close()
	if err := unix.Fstat(int(p.Fd()), &st); err != nil {
		return nil, st, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, st, &os.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	// The same file, whatever has become of its name.
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(p.Fd())), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, st, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), st, nil
}
