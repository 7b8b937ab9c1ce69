package snapshot

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Usage counts the layer: bytes on disk, hard links once, and entries. Files that go
// away meanwhile are not counted. As Changes, it goes by descriptor.
func (l Layer) Usage(ctx context.Context) (size, entries int64, err error) {
	upper, err := os.OpenFile(l.Upper(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if os.IsNotExist(err) {
		return 0, 0, nil // removed
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cannot measure layer: %w", err)
	}
	defer upper.Close()
	m := meter{ctx: ctx, seen: map[inode]bool{}}
	var st unix.Stat_t
	if err := unix.Fstat(int(upper.Fd()), &st); err != nil {
		return 0, 0, fmt.Errorf("cannot measure layer: %w", os.NewSyscallError("fstat", err))
	}
	m.count(&st)
	if err := m.dir(upper, 0); err != nil {
		return 0, 0, fmt.Errorf("cannot measure layer: %w", err)
	}
	return m.size, m.entries, nil
}

type inode struct{ dev, ino uint64 }

// meter sums up a tree.
type meter struct {
	ctx           context.Context
	seen          map[inode]bool // files with several names
	size, entries int64
}

func (m *meter) count(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		k := inode{st.Dev, st.Ino}
		if m.seen[k] {
			return
		}
		m.seen[k] = true
	}
	m.entries++
	m.size += st.Blocks * 512
}

// dir counts what is in a directory; what is nested too deep to be walked is left out.
func (m *meter) dir(dir *os.File, depth int) error {
	names, err := dir.Readdirnames(-1)
	if err != nil && !gone(err) {
		return err
	}
	for _, n := range names {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		var st unix.Stat_t
		if unix.Fstatat(int(dir.Fd()), n, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue // gone since
		}
		m.count(&st)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || depth == maxDepth {
			continue
		}
		sub, err := openDir(dir, n)
		if err != nil {
			continue
		}
		err = m.dir(sub, depth+1)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
