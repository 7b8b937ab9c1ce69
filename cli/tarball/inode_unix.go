//go:build unix

package tarball

import (
	"io/fs"
	"syscall"
)

// identity says which file it is, and whether it has several names.
func identity(fi fs.FileInfo) (inode, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, false
	}
	return inode{uint64(st.Dev), uint64(st.Ino)}, st.Nlink > 1
}
