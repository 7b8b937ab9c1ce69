package tree

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// removeDepth is how deep Remove goes down at once: each level holds a descriptor.
const removeDepth = 64

// Remove removes path and all that is below it, as os.RemoveAll does, with few descriptors
// and little memory however deep directories are nested: a container may nest as many as
// the disk has room for. What lies deeper is brought up to the top first. That path is not
// there is no error.
func Remove(path string) error {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return RemoveAt(dir, filepath.Base(path))
}

// RemoveAt is Remove of a name in a directory. A link is removed and not followed.
func RemoveAt(dir *os.File, name string) error { return new(remover).at(dir, name) }

// RemoveAround is RemoveAt where others have mounted things: what something is mounted on
// stays, which is EBUSY. The kernel keeps only those in the mount namespace itself from
// removing that, and unmounts it there for anybody else.
func RemoveAround(dir *os.File, name string) error { return (&remover{around: true}).at(dir, name) }

func (r *remover) at(dir *os.File, name string) error {
	if r.around && mountedOn(dir, name) {
		return wrap("unlinkat", name, unix.EBUSY)
	}
	err := unlink(dir, name)
	if err != unix.EISDIR {
		return wrap("unlinkat", name, err)
	}
	top, err := openAt(dir, name, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	r.top = top
	return cmp.Or(r.contents(top, 1), rmdir(dir, name))
}

type remover struct {
	around bool // what something is mounted on stays
	top    *os.File
	next   int // the number in the name of what is moved there next
}

// contents removes what can be removed of what is in a directory, and returns the first
// error.
func (r *remover) contents(dir *os.File, depth int) (first error) {
	for {
		// From the beginning: what is removed may move what is not read yet.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(1024)
		if err == io.EOF {
			return nil // whatever failed before
		}
		if err != nil {
			return err
		}
		first = nil
		failed := 0
		for _, n := range names {
			if err := r.entry(dir, n, depth); err != nil {
				failed++
				first = cmp.Or(first, err)
			}
		}
		if failed == len(names) {
			return first
		}
	}
}

func (r *remover) entry(dir *os.File, name string, depth int) error {
	if r.around && mountedOn(dir, name) {
		return wrap("unlinkat", name, unix.EBUSY)
	}
	err := unlink(dir, name)
	if err != unix.EISDIR {
		return wrap("unlinkat", name, err)
	}
	// Where it cannot be moved, as out of another project's quota, it is gone into here.
	if depth >= removeDepth && r.up(dir, name) == nil {
		return nil
	}
	sub, err := openAt(dir, name, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	err = r.contents(sub, depth+1)
	sub.Close()
	return cmp.Or(err, rmdir(dir, name))
}

// up moves a directory into the top one, under a name that is free there.
func (r *remover) up(dir *os.File, name string) error {
	for {
		r.next++
		err := unix.Renameat2(int(dir.Fd()), name, int(r.top.Fd()), ".deep-"+strconv.Itoa(r.next), unix.RENAME_NOREPLACE)
		if err != unix.EEXIST {
			return err
		}
	}
}

func mountedOn(dir *os.File, name string) bool {
	var st unix.Statx_t
	err := unix.Statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// unlink removes what is no directory; it returns EISDIR for one.
func unlink(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == unix.ENOENT {
		return nil
	}
	return err
}

func rmdir(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
	if err == unix.ENOENT {
		return nil
	}
	return wrap("unlinkat", name, err)
}
