package volume

import (
	"io/fs"
	"path/filepath"
	"syscall"
)

// Usage returns the bytes of the files in a volume, each counted once however many
// names it has. What is removed meanwhile does not count.
func (v *Volume) Usage() (size int64) {
	type file struct{ dev, ino uint64 }
	seen := map[file]bool{}
	filepath.WalkDir(v.Mountpoint, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		if f := (file{st.Dev, st.Ino}); !seen[f] {
			seen[f] = true
			size += info.Size()
		}
		return nil
	})
	return size
}
