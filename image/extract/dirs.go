package extract

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"hoy/linux/mount"
)

// dirCache remembers the directories that were used last: members of one directory
// mostly follow each other.
type dirCache struct {
	root  *os.File
	names [cached]string
	files [cached]*os.File
	next  int
	stale []*os.File // forgotten, but still in use by the member at hand
}

const cached = 16

func (c *dirCache) init(root *os.File) { c.root = root }

func (c *dirCache) get(name string) *os.File {
	if name == "." || name == "" {
		return c.root
	}
	for i, n := range c.names {
		if n == name {
			return c.files[i]
		}
	}
	return nil
}

func (c *dirCache) put(name string, f *os.File) {
	if c.files[c.next] != nil {
		c.files[c.next].Close()
	}
	c.names[c.next], c.files[c.next] = name, f
	c.next = (c.next + 1) % cached
}

// forget drops everything: a name may lead elsewhere now. Whoever has a directory
// goes on using it until the next member.
func (c *dirCache) forget() {
	for i, f := range c.files {
		if f != nil {
			c.stale = append(c.stale, f)
		}
		c.names[i], c.files[i] = "", nil
	}
}

// tidy closes what was forgotten, when the next member begins.
func (c *dirCache) tidy() {
	for _, f := range c.stale {
		f.Close()
	}
	c.stale = c.stale[:0]
}

func (c *dirCache) close() { c.forget(); c.tidy() }

// openIn is openat2(2) confined to root. flags without O_PATH give a descriptor
// that takes attributes.
func openIn(root *os.File, name string, flags int) (*os.File, error) {
	return mount.OpenIn(root, name, flags)
}

// parent opens the directory of a member, making what is missing on the way.
func (u *unpacker) parent(name string) (*os.File, error) {
	u.dirs.tidy()
	if f := u.dirs.get(name); f != nil {
		return f, nil
	}
	f, err := openIn(u.root, name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		f, err = u.imply(name, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := u.withinReach(f); err != nil {
		f.Close()
		return nil, err
	}
	u.dirs.put(name, f)
	return f, nil
}

// withinReach refuses a directory of a layer whose path no system call would take: by links
// members come to be nested as deep as they like, and whoever walks or removes them later
// has a path or a descriptor for each level.
func (u *unpacker) withinReach(f *os.File) error {
	if u.into != nil {
		return nil
	}
	_, err := os.Readlink(procPath(f))
	return err
}

// maxLinks is how many links in a row imply follows, as many as the kernel does.
const maxLinks = 40

// imply makes a directory that only its members' names speak of. Each name is
// made in a descriptor of the directory above, which openat2 found in the root.
func (u *unpacker) imply(name string, links int) (*os.File, error) {
	f, err := openIn(u.root, name, unix.O_PATH|unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOENT) {
		return f, err
	}
	above, err := u.imply(path.Dir(name), links)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	err = unix.Mkdirat(int(above.Fd()), path.Base(name), 0o755)
	if err == unix.EEXIST { // a link to something that is not there
		return u.behind(above, name, links)
	}
	if err != nil {
		return nil, os.NewSyscallError("mkdirat", err)
	}
	if u.into != nil {
		if err := u.into.own(int(above.Fd()), path.Base(name)); err != nil {
			return nil, err
		}
	}
	u.res.Implied = append(u.res.Implied, name)
	return openIn(u.root, name, unix.O_PATH|unix.O_DIRECTORY)
}

// behind makes the directory that the dangling link name points to, in the root.
func (u *unpacker) behind(above *os.File, name string, links int) (*os.File, error) {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(int(above.Fd()), path.Base(name), b[:])
	if err != nil {
		return nil, os.NewSyscallError("readlinkat", err)
	}
	if links == maxLinks {
		return nil, &os.PathError{Op: "openat2", Path: name, Err: unix.ELOOP}
	}
	target := string(b[:n])
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(name), target)
	}
	return u.imply(path.Join("/", target)[1:], links+1)
}
