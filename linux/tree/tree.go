// Package tree copies directories with all that is in them: owners, modes, times,
// extended attributes, hard links, devices.
package tree

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/linux/idmap"
	"hoy/linux/mount"
)

// Options say what a copy keeps.
type Options struct {
	IDs     *idmap.Map // by which the source shows owners; nil: as they are. The copy has those on disk
	Overlay bool       // it is an upper directory of overlayfs: opaque directories stay opaque
}

type inode struct{ dev, ino uint64 }

// copier copies one tree.
type copier struct {
	Options
	dst     *os.File
	links   map[inode]string // files with several names: the first one's path in dst
	depth   int              // of the directory at hand
	noShare bool             // the file systems cannot share blocks
}

// Copy copies what is in the directory src into the directory dst, which is empty, and
// src's own attributes. Files share their blocks where the file system can do that
// (ioctl_ficlone(2)); holes stay holes. Links are copied and never followed; everything goes by
// descriptor.
func Copy(dst, src *os.File, o Options) error {
	c := copier{Options: o, dst: dst, links: map[inode]string{}}
	return c.dir(dst, src, "")
}

// dir copies what is in src into dst, then src's own attributes.
func (c *copier) dir(dst, src *os.File, at string) error {
	if c.depth++; c.depth > maxDepth {
		return &os.PathError{Op: "copy", Path: at[:100] + "…", Err: unix.ENAMETOOLONG}
	}
	defer func() { c.depth-- }()
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
	return c.attributes(int(dst.Fd()), int(src.Fd()), &st, at)
}

// unmap makes the owner the one on disk.
func (c *copier) unmap(st *unix.Stat_t) {
	if c.IDs != nil {
		st.Uid, st.Gid = c.IDs.Inside(st.Uid, st.Gid)
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
		return c.subdir(dst, src, name, at)
	case unix.S_IFREG:
		return c.regular(dst, src, name, at, &st)
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

// openAt opens a name of a directory; links are not followed.
func openAt(dir *os.File, name, at string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, wrap("openat", at, err)
	}
	return os.NewFile(uintptr(fd), at), nil
}

func (c *copier) subdir(dst, src *os.File, name, at string) error {
	from, err := openAt(src, name, at, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openAt(dst, name, at, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer to.Close()
	return c.dir(to, from, at)
}

func (c *copier) regular(dst, src *os.File, name, at string, st *unix.Stat_t) error {
	from, _, err := mount.OpenRegular(src, name, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openAt(dst, name, at, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := c.content(to, from, st.Size); err != nil {
		return err
	}
	return c.attributes(int(to.Fd()), int(from.Fd()), st, at)
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
func (c *copier) attributes(to, from int, st *unix.Stat_t, at string) error {
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return wrap("fchown", at, err)
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return wrap("fchmod", at, err)
	}
	if err := c.xattrs(to, from); err != nil {
		return wrap("setxattr", at, err)
	}
	ts := []unix.Timespec{st.Atim, st.Mtim}
	return wrap("utimensat", at, unix.UtimesNanoAt(to, "", ts, unix.AT_EMPTY_PATH))
}

func (c *copier) xattrs(to, from int) error {
	n, err := unix.Flistxattr(from, nil)
	if err != nil || n == 0 {
		return nil // the file system has none
	}
	list := make([]byte, n)
	if n, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for k := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if k == "" || !c.keeps(k) {
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

// keeps tells whether an extended attribute belongs to the copy. Overlayfs's own name
// inodes of where they were, except what makes a directory opaque.
func (c *copier) keeps(name string) bool {
	own, overlay := strings.CutPrefix(name, "trusted.overlay.")
	return !overlay || c.Overlay && own == "opaque"
}

func wrap(op, at string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: at, Err: err}
}
