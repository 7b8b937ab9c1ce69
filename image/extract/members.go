package extract

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/tree"
)

// directory makes a directory, or gives one that is there the member's attributes.
func (u *unpacker) directory(dir *os.File, base, name string, h *tar.Header) error {
	opaque := false
	err := unix.Mkdirat(int(dir.Fd()), base, 0o700)
	if err == unix.EEXIST {
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return os.NewSyscallError("fstatat", err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err := u.mayReplace(h, &st); err != nil {
				return err
			}
			opaque = u.into == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
			if err := u.replace(dir, base); err != nil {
				return err
			}
			err = unix.Mkdirat(int(dir.Fd()), base, 0o700)
		} else {
			err = nil
		}
	}
	if err != nil {
		return os.NewSyscallError("mkdirat", err)
	}
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if opaque {
		u.opaque[name] = true
	}
	return u.finishDir(f, h, name)
}

func (u *unpacker) finishDir(f *os.File, h *tar.Header, name string) error {
	u.late = append(u.late, late{name, h.ModTime})
	return finish(f, h)
}

// regular makes a file and fills it.
func (u *unpacker) regular(dir *os.File, base string, h *tar.Header, r io.Reader) error {
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), base, flags, 0o600)
	if err == unix.EEXIST {
		if err := u.replaceBy(dir, base, h); err != nil {
			return err
		}
		fd, err = unix.Openat(int(dir.Fd()), base, flags, 0o600)
	}
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	defer unix.Close(fd)
	if err := u.fill(fd, r); err != nil {
		return err
	}
	if err := finishFd(fd, h); err != nil {
		return err
	}
	ts := times(h.ModTime)
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, "", ts[:], unix.AT_EMPTY_PATH))
}

// fill copies by plain read and write: os.File would register each file with the
// poller and take a lock for every write. Long zeros become holes: an archive's sparse
// file, of which a few bytes may claim terabytes, takes no more on disk than it did.
func (u *unpacker) fill(fd int, r io.Reader) error {
	size, hole := int64(0), false
	for {
		n, err := io.ReadFull(r, u.buf)
		size += int64(n)
		if n > 0 {
			if hole = n == len(u.buf) && zero(u.buf); hole {
				if _, err := unix.Seek(fd, int64(n), io.SeekCurrent); err != nil {
					return os.NewSyscallError("lseek", err)
				}
			} else if err := writeAll(fd, u.buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && n < len(u.buf) {
			// ReadFull says ErrUnexpectedEOF at the end of the member; a truncated
			// archive shows at the next read.
			_, err = r.Read(u.buf[:1])
			if err == io.EOF && hole {
				return os.NewSyscallError("ftruncate", unix.Ftruncate(fd, size))
			}
			if err == io.EOF {
				return nil
			}
		}
		if err != nil {
			return ReadError(err)
		}
	}
}

// zero reports whether b has only zeros: its first byte is one, and each is like the next.
func zero(b []byte) bool { return b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:]) }

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		b = b[n:]
	}
	return nil
}

// hardLink links to an earlier member. The target is looked up inside the root and
// not followed when it is a link itself.
func (u *unpacker) hardLink(dir *os.File, base string, h *tar.Header) error {
	target, err := u.linkTarget(h)
	if err != nil || target == "" {
		return fault.New(fault.Invalid, "hard link to %q leads out of the image's root", h.Linkname)
	}
	from, err := openIn(u.root, path.Dir(target), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fault.New(fault.Invalid, "hard link to %q, which the archive has not brought: %w", h.Linkname, err)
	}
	defer from.Close()
	link := func() error {
		return unix.Linkat(int(from.Fd()), path.Base(target), int(dir.Fd()), base, 0)
	}
	err = link()
	if err == unix.EEXIST {
		if same(from, path.Base(target), dir, base) {
			return nil
		}
		if err := u.replaceBy(dir, base, h); err != nil {
			return err
		}
		err = link()
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) {
		return fault.New(fault.Invalid, "hard link to %q, which the archive has not brought as a file: %w", h.Linkname, err)
	}
	return os.NewSyscallError("linkat", err)
}

func same(a *os.File, an string, b *os.File, bn string) bool {
	var x, y unix.Stat_t
	return unix.Fstatat(int(a.Fd()), an, &x, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstatat(int(b.Fd()), bn, &y, unix.AT_SYMLINK_NOFOLLOW) == nil && x.Ino == y.Ino && x.Dev == y.Dev
}

// special makes what has no content: symbolic links, devices, FIFOs.
func (u *unpacker) special(dir *os.File, base string, h *tar.Header, call string, create func(fd int) error) error {
	err := create(int(dir.Fd()))
	if err == unix.EEXIST {
		if err := u.replaceBy(dir, base, h); err != nil {
			return err
		}
		err = create(int(dir.Fd()))
	}
	if err != nil {
		return os.NewSyscallError(call, err)
	}
	fd := int(dir.Fd())
	if err := unix.Fchownat(fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("fchownat", err)
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := chmodAt(fd, base, uint32(h.Mode&0o7777)); err != nil {
			return err
		}
	}
	if err := eachXattr(h, func(k string, v []byte) error {
		return unix.Lsetxattr(procPath(dir)+"/"+base, k, v, 0)
	}); err != nil {
		return err
	}
	ts := times(h.ModTime)
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(fd, base, ts[:], unix.AT_SYMLINK_NOFOLLOW))
}

// chmodAt is fchmodat(2) that follows no link, which the kernel has since 6.6 only:
// whoever writes to the directory too may have put one there.
func chmodAt(dir int, base string, mode uint32) error {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	defer unix.Close(fd)
	return os.NewSyscallError("chmod", unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode))
}

// replace removes what an earlier member of the same name has made.
func (u *unpacker) replace(dir *os.File, base string) error {
	u.dirs.forget()
	maps.DeleteFunc(u.opaque, func(name string, _ bool) bool {
		return name == u.name || strings.HasPrefix(name, u.name+"/")
	})
	if u.into != nil {
		return tree.RemoveAround(dir, base)
	}
	return tree.RemoveAt(dir, base)
}

func finish(f *os.File, h *tar.Header) error { return finishFd(int(f.Fd()), h) }

// finishFd sets owner, mode and attributes. In this order: chown(2) clears the
// set-user-ID bits and security.capability.
func finishFd(fd int, h *tar.Header) error {
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return os.NewSyscallError("fchown", err)
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	return eachXattr(h, func(k string, v []byte) error { return unix.Fsetxattr(fd, k, v, 0) })
}

// eachXattr calls set for the extended attributes of a member. overlayfs's own are
// dropped: they would let a layer redirect lookups (trusted.overlay.redirect) and
// borrow contents (metacopy) of the layers below. What the file system does not
// take is dropped too, as docker does.
func eachXattr(h *tar.Header, set func(k string, v []byte) error) error {
	for k, v := range h.PAXRecords {
		k, ok := strings.CutPrefix(k, "SCHILY.xattr.")
		if !ok || strings.HasPrefix(k, "trusted.overlay.") {
			continue
		}
		err := set(k, []byte(v))
		switch err {
		case nil, unix.ENOTSUP, unix.EPERM:
		case unix.ENOSPC, unix.E2BIG: // ext4 says ENOSPC for more than a block
			return fault.New(fault.Invalid, "attribute %q has %d bytes, more than the file system takes", k, len(v))
		default:
			return fmt.Errorf("cannot set attribute %q: %w", k, os.NewSyscallError("setxattr", err))
		}
	}
	return nil
}

func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// times turns a modification time into what utimensat(2) takes. A time outside of
// what the kernel can hold becomes its zero.
func times(t time.Time) [2]unix.Timespec {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		ts = unix.Timespec{}
	}
	return [2]unix.Timespec{ts, ts}
}

// times sets the directories' times: the last member of a name wins.
func (u *unpacker) times() error {
	for _, l := range u.late {
		ts := times(l.mtime)
		f, err := openIn(u.root, l.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if err != nil {
			continue // a later member has replaced it
		}
		err = unix.UtimesNanoAt(int(f.Fd()), "", ts[:], unix.AT_EMPTY_PATH)
		f.Close()
		if err != nil {
			return fmt.Errorf("cannot set the time of %q: %w", l.path, os.NewSyscallError("utimensat", err))
		}
	}
	return nil
}
