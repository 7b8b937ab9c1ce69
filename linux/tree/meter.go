package tree

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// A Meter adds up what trees take on disk, in blocks, as du(1) does. A file that it has
// met by another name, in whichever tree, counts no more.
type Meter struct {
	Size    int64 // bytes
	Entries int64
	seen    map[inode]bool // files with several names
}

// maxDepth bounds directories within directories: each level holds a descriptor.
const maxDepth = 1000

// Count adds one object.
func (m *Meter) Count(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		k := inode{st.Dev, st.Ino}
		if m.seen[k] {
			return
		}
		if m.seen == nil {
			m.seen = map[inode]bool{}
		}
		m.seen[k] = true
	}
	m.Entries++
	m.Size += st.Blocks * 512
}

// Tree adds the object name in dir, and all that is below it on the same file system.
// It goes by descriptor and follows no link; what goes away meanwhile is not counted,
// and neither is what is nested too deep to be walked.
func (m *Meter) Tree(ctx context.Context, dir *os.File, name string) error {
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return nil // gone since
	}
	return m.object(ctx, dir, name, &st, 0)
}

func (m *Meter) object(ctx context.Context, dir *os.File, name string, st *unix.Stat_t, depth int) error {
	m.Count(st)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || depth == maxDepth {
		return nil
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // gone since
	}
	sub := os.NewFile(uintptr(fd), name)
	defer sub.Close()
	names, _ := sub.Readdirnames(-1)
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		var below unix.Stat_t
		if unix.Fstatat(fd, n, &below, unix.AT_SYMLINK_NOFOLLOW) != nil || below.Dev != st.Dev {
			continue
		}
		if err := m.object(ctx, sub, n, &below, depth+1); err != nil {
			return err
		}
	}
	return nil
}
