package volume

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/linux/idmap"
	"hoy/linux/mount"
)

// Populate copies the tree at path inside root, a container's root file system,
// into the volume if that is empty, as docker does at a volume's first use: with
// owners, modes, times, extended attributes and hard links, and with the owner and
// mode of the directory itself. A path that is missing in root, or is no directory,
// is no failure. sub is a directory in the volume to be filled instead of the whole;
// one that is missing is left to whoever mounts it.
//
// ids is the map by which root shows owners, nil when it shows them as they are: in
// the volume they are as in the image. Links are copied and never followed out of
// root; everything below goes by descriptor.
func (s *Store) Populate(name, sub string, root *os.File, path string, ids *idmap.Map) error {
	e, err := s.find(name)
	if err != nil {
		return err
	}
	e.populate.Lock()
	defer e.populate.Unlock()
	src, err := mount.OpenIn(root, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot populate volume %s from %s: %w", name, path, err)
	}
	defer src.Close()
	if err := populate(e.v.Mountpoint, sub, src, ids); err != nil {
		return fmt.Errorf("cannot populate volume %s from %s: %w", name, path, err)
	}
	return nil
}

func missing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

func populate(data, sub string, src *os.File, ids *idmap.Map) error {
	dst, err := openData(data, sub)
	if err != nil {
		return missingIsFine(err)
	}
	defer dst.Close()
	if _, err := dst.Readdirnames(1); err != io.EOF {
		return err // nil: something is in it already
	}
	mark := filepath.Join(filepath.Dir(data), marker)
	if err := os.WriteFile(mark, []byte(sub), 0o600); err != nil {
		return err
	}
	c := copier{dst: dst, ids: ids, links: map[inode]string{}}
	if err := c.dir(dst, src, ""); err != nil {
		return errors.Join(err, empty(data, sub), os.Remove(mark))
	}
	return os.Remove(mark)
}

func missingIsFine(err error) error {
	if missing(err) {
		return nil
	}
	return err
}

// openData opens the directory sub of a volume's files, "" is all of them.
func openData(data, sub string) (*os.File, error) {
	all, err := os.OpenFile(data, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil || sub == "" {
		return all, err
	}
	defer all.Close()
	return mount.OpenBeneath(all, sub, unix.O_RDONLY|unix.O_DIRECTORY)
}

// empty removes everything in the directory sub of a volume's files.
func empty(data, sub string) error {
	dir, err := openData(data, sub)
	if err != nil {
		return missingIsFine(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), n)); err != nil {
			return err
		}
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// copier copies one tree.
type copier struct {
	dst   *os.File
	ids   *idmap.Map
	links map[inode]string // files with several names: the first one's path in dst
}

// dir copies what is in src into dst, then src's own attributes.
func (c *copier) dir(dst, src *os.File, at string) error {
	names, err := src.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := c.entry(dst, src, n, path.Join(at, n)); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: at, Err: err}
	}
	c.unmap(&st)
	return attributes(int(dst.Fd()), int(src.Fd()), &st, at)
}

// unmap makes the owner the one on disk.
func (c *copier) unmap(st *unix.Stat_t) {
	if c.ids != nil {
		st.Uid, st.Gid = c.ids.Inside(st.Uid, st.Gid)
	}
}

func (c *copier) entry(dst, src *os.File, name, at string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(src.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "fstatat", Path: at, Err: err}
	}
	c.unmap(&st)
	kind := st.Mode & unix.S_IFMT
	if st.Nlink > 1 && kind != unix.S_IFDIR {
		key := inode{st.Dev, st.Ino}
		if first, ok := c.links[key]; ok {
			err := unix.Linkat(int(c.dst.Fd()), first, int(dst.Fd()), name, 0)
			return wrap("linkat", at, err)
		}
		c.links[key] = at
	}
	switch kind {
	case unix.S_IFDIR:
		if err := unix.Mkdirat(int(dst.Fd()), name, 0o700); err != nil {
			return wrap("mkdirat", at, err)
		}
		return c.both(dst, src, name, at, unix.O_RDONLY|unix.O_DIRECTORY, unix.O_RDONLY|unix.O_DIRECTORY, c.dir)
	case unix.S_IFREG:
		return c.both(dst, src, name, at, unix.O_RDONLY, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, func(to, from *os.File, at string) error {
			if _, err := io.Copy(to, from); err != nil {
				return err
			}
			return attributes(int(to.Fd()), int(from.Fd()), &st, at)
		})
	case unix.S_IFLNK:
		return symlink(dst, src, name, at, &st)
	}
	if err := unix.Mknodat(int(dst.Fd()), name, st.Mode, int(st.Rdev)); err != nil {
		return wrap("mknodat", at, err)
	}
	if err := unix.Fchmodat(int(dst.Fd()), name, st.Mode&0o7777, 0); err != nil {
		return wrap("fchmodat", at, err)
	}
	return named(dst, name, at, &st)
}

// both opens a name on both sides, links not followed, and runs f.
func (c *copier) both(dst, src *os.File, name, at string, from, to int, f func(dst, src *os.File, at string) error) error {
	open := func(dir *os.File, flags int) (*os.File, error) {
		fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, wrap("openat", at, err)
		}
		return os.NewFile(uintptr(fd), at), nil
	}
	a, err := open(src, from)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := open(dst, to)
	if err != nil {
		return err
	}
	defer b.Close()
	return f(b, a, at)
}

func symlink(dst, src *os.File, name, at string, st *unix.Stat_t) error {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(int(src.Fd()), name, b[:])
	if err != nil {
		return wrap("readlinkat", at, err)
	}
	if err := unix.Symlinkat(string(b[:n]), int(dst.Fd()), name); err != nil {
		return wrap("symlinkat", at, err)
	}
	return named(dst, name, at, st)
}

// named sets owner and time of what cannot be opened.
func named(dir *os.File, name, at string, st *unix.Stat_t) error {
	if err := unix.Fchownat(int(dir.Fd()), name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return wrap("fchownat", at, err)
	}
	ts := []unix.Timespec{st.Atim, st.Mtim}
	return wrap("utimensat", at, unix.UtimesNanoAt(int(dir.Fd()), name, ts, unix.AT_SYMLINK_NOFOLLOW))
}

// attributes copies owner, mode, extended attributes and times, in the order that
// keeps each: chown(2) clears set-user-ID bits and capabilities.
func attributes(to, from int, st *unix.Stat_t, at string) error {
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return wrap("fchown", at, err)
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return wrap("fchmod", at, err)
	}
	if err := xattrs(to, from); err != nil {
		return wrap("setxattr", at, err)
	}
	ts := []unix.Timespec{st.Atim, st.Mtim}
	return wrap("utimensat", at, unix.UtimesNanoAt(to, "", ts, unix.AT_EMPTY_PATH))
}

func xattrs(to, from int) error {
	n, err := unix.Flistxattr(from, nil)
	if err != nil || n == 0 {
		return nil // the file system has none
	}
	list := make([]byte, n)
	if n, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for k := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if k == "" || strings.HasPrefix(k, "trusted.overlay.") {
			continue
		}
		v := make([]byte, 64<<10) // XATTR_SIZE_MAX
		m, err := unix.Fgetxattr(from, k, v)
		if err != nil {
			return err
		}
		if err := unix.Fsetxattr(to, k, v[:m], 0); err != nil && err != unix.ENOTSUP {
			return err
		}
	}
	return nil
}

func wrap(op, at string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: at, Err: err}
}
