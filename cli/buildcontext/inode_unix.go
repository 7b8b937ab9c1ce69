//go:build unix

package buildcontext

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity says which file it is, and whether it has several names.
func identity(fi fs.FileInfo) (inode, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, false
	}
	return inode{uint64(st.Dev), uint64(st.Ino)}, st.Nlink > 1
}

// device is the number of a device.
func device(fi fs.FileInfo) (major, minor int64) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return int64(unix.Major(uint64(st.Rdev))), int64(unix.Minor(uint64(st.Rdev)))
}

func mode(m uint32) uint32 { return m }
