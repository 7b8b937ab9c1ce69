package runtime

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hoy/linux/mount"
)

// cover hides a path of the container or makes it read-only.
type cover struct {
	object string
	kind   coverKind
	pin    *os.File // the file itself; nil: inside of attachment number in
	in     int
	inside string
}

type coverKind uint8

const (
	maskFile coverKind = iota // by the host's /dev/null
	maskDir                   // by an empty tmpfs
	readOnly                  // by a read-only copy of itself
)

// coverPaths resolves the masked and read-only paths of the spec. What does not
// exist needs no cover.
func (b *builder) coverPaths() error {
	for _, p := range b.spec.Linux.MaskedPaths {
		if err := b.coverPath(p, maskFile); err != nil {
			return fmt.Errorf("cannot mask %s: %w", p, err)
		}
	}
	for _, p := range b.spec.Linux.ReadonlyPaths {
		if err := b.coverPath(p, readOnly); err != nil {
			return fmt.Errorf("cannot make %s read-only: %w", p, err)
		}
	}
	return b.openNull()
}

func (b *builder) coverPath(p string, kind coverKind) error {
	t, err := b.trees.resolve(p)
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	c := cover{object: p, kind: kind}
	var mode uint32
	if t.tree.root == nil {
		c.in, c.inside = t.tree.made, t.inside
		mode, err = b.lookMade(t)
	} else if len(t.place.Missing) == 0 {
		b.keep(t.place.Dir)
		c.pin = t.place.Dir
		var st unix.Stat_t
		err = unix.Fstat(int(c.pin.Fd()), &st)
		mode = st.Mode
	} else {
		return t.place.Dir.Close()
	}
	if err != nil || mode == 0 {
		return err
	}
	if kind == maskFile && mode&unix.S_IFMT == unix.S_IFDIR {
		c.kind = maskDir
	}
	b.covers = append(b.covers, c)
	return nil
}

// lookMade returns the mode of a file in a procfs or sysfs that the child will make:
// what these file systems hold for a mask is the same in each of their instances.
// It returns 0 when there is no such file.
func (b *builder) lookMade(t target) (uint32, error) {
	dir := map[string]string{"proc": "/proc/", "sysfs": "/sys/"}[b.attachments[t.tree.made].fstype]
	if dir == "" || t.inside == "" {
		return 0, nil
	}
	var st unix.Stat_t
	err := unix.Lstat(dir+t.inside, &st)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return 0, nil
	}
	if err != nil {
		return 0, &os.PathError{Op: "lstat", Path: dir + t.inside, Err: err}
	}
	return st.Mode, nil
}

// openNull copies the mount of the host's /dev/null. The container's own may be
// anything by the time it is used (CVE-2025-31133). It is the host's file: a container
// whose root is the host's must not change its mode, which a read-only mount prevents;
// a device can be written all the same.
func (b *builder) openNull() error {
	for _, c := range b.covers {
		if c.kind != maskFile {
			continue
		}
		var err error
		if b.null, err = mount.BindFile(b.rt.null, false); err != nil {
			return err
		}
		b.keep(b.null)
		return mount.SetAttr(b.null, false, unix.MOUNT_ATTR_RDONLY, 0, 0, nil)
	}
	return nil
}

// verifiedNull opens /dev/null and sees that it is what it should be.
func verifiedNull() (*os.File, error) {
	fd, err := unix.Open("/dev/null", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/null", Err: err}
	}
	f := os.NewFile(uintptr(fd), "/dev/null")
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "fstat", Path: "/dev/null", Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		f.Close()
		return nil, errors.New("/dev/null is not the null device (character device 1:3)")
	}
	return f, nil
}
