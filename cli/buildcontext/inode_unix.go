//go:build unix

package buildcontext

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

func mode(m int64) int64 { return m }
