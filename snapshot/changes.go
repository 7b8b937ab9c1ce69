package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/mount"
)

// Kind is what has become of a path. The numbers are docker's.
type Kind uint8

// The kinds.
const (
	Modified Kind = 0
	Added    Kind = 1
	Deleted  Kind = 2
)

// Change is a path that the container's file system has otherwise than the image.
type Change struct {
	Path string // absolute
	Kind Kind
}

// Changes lists what the layer changes of the layers below, given top first, by
// docker's rules: a file has changed when its attributes, size or time have, a
// directory when its attributes have or something in it; what is in a directory that
// was deleted is not listed. A directory comes before what is in it.
//
// Only the upper directory is walked, by descriptor, so that a container that runs
// meanwhile cannot lead the walk elsewhere.
func (l Layer) Changes(ctx context.Context, lowers []string) ([]Change, error) {
	upper, err := os.OpenFile(l.Upper(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot find changes: %w", err)
	}
	defer upper.Close()
	lower, err := lowerRoot(lowers)
	if err != nil {
		return nil, fmt.Errorf("cannot find changes: %w", err)
	}
	defer lower.Close() // on nil it only returns an error
	d := differ{ctx: ctx}
	if err := d.dir(upper, lower, "/"); err != nil {
		return nil, fmt.Errorf("cannot find changes: %w", err)
	}
	return d.changes, nil
}

// lowerRoot opens the layers below as one tree, nil when there are none.
func lowerRoot(lowers []string) (*os.File, error) {
	switch len(lowers) {
	case 0:
		return nil, nil
	case 1: // overlayfs wants two
		return os.OpenFile(lowers[0], unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	return mount.Overlay(mount.OverlayConfig{Lower: lowers, ReadOnly: true})
}

// differ compares an upper directory with what is below it.
type differ struct {
	ctx     context.Context
	changes []Change
}

// maxDepth bounds directories within directories: each level holds two descriptors.
const maxDepth = 1000

// dir compares what is in a directory of the upper layer; below is the directory of
// the same path in the layers below, nil when there is none or it is hidden.
func (d *differ) dir(upper, below *os.File, at string) error {
	if bytes.Count([]byte(at), []byte("/")) > maxDepth {
		return fault.New(fault.Invalid, "%.100s…: directories are nested more than %d deep", at, maxDepth)
	}
	names, err := upper.Readdirnames(-1)
	if err != nil && !gone(err) {
		return fmt.Errorf("%s: %w", at, err)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if err := d.entry(upper, below, n, path.Join(at, n)); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// gone reports that the container has taken away what was listed.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}

func (d *differ) entry(upper, below *os.File, name, at string) error {
	var now, was unix.Stat_t
	if err := unix.Fstatat(int(upper.Fd()), name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "fstatat", Path: at, Err: err}
	}
	exists := stat(below, name, &was)
	switch {
	case isWhiteout(&now):
		if exists {
			d.changes = append(d.changes, Change{at, Deleted})
		}
		return nil
	case !exists:
		d.changes = append(d.changes, Change{at, Added})
	case differs(&now, &was):
		d.changes = append(d.changes, Change{at, Modified})
	}
	if now.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	return d.inside(upper, below, name, at, exists && was.Mode&unix.S_IFMT == unix.S_IFDIR)
}

func stat(dir *os.File, name string, st *unix.Stat_t) bool {
	return dir != nil && unix.Fstatat(int(dir.Fd()), name, st, unix.AT_SYMLINK_NOFOLLOW) == nil && !isWhiteout(st)
}

func isWhiteout(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

// differs compares as docker does: of a directory neither size nor time count.
func differs(a, b *unix.Stat_t) bool {
	if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Rdev != b.Rdev {
		return true
	}
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false
	}
	// Times from a tar archive may be whole seconds.
	sameTime := a.Mtim == b.Mtim || a.Mtim.Sec == b.Mtim.Sec && (a.Mtim.Nsec == 0 || b.Mtim.Nsec == 0)
	return !sameTime || a.Size != b.Size
}

// inside compares the contents of a directory, whose own line may be missing yet.
func (d *differ) inside(upper, below *os.File, name, at string, wasDir bool) error {
	up, err := openDir(upper, name)
	if err != nil {
		return err
	}
	defer up.Close()
	var low *os.File
	if wasDir {
		if low, err = openDir(below, name); err != nil {
			return err
		}
		defer low.Close()
	}
	before := len(d.changes)
	listed := before > 0 && d.changes[before-1].Path == at
	if wasDir && isOpaque(up) {
		if err := d.hidden(up, low, at); err != nil {
			return err
		}
	}
	err = d.dir(up, low, at)
	if len(d.changes) > before && !listed {
		d.changes = slices.Insert(d.changes, before, Change{at, Modified})
	}
	return err
}

// hidden lists what an opaque directory hides and does not have itself.
func (d *differ) hidden(upper, below *os.File, at string) error {
	names, err := below.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	slices.Sort(names)
	for _, n := range names {
		var st unix.Stat_t
		if stat(below, n, &st) && unix.Fstatat(int(upper.Fd()), n, &st, unix.AT_SYMLINK_NOFOLLOW) == unix.ENOENT {
			d.changes = append(d.changes, Change{path.Join(at, n), Deleted})
		}
	}
	_, err = below.Seek(0, io.SeekStart)
	return err
}

func openDir(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// isOpaque reports that a directory hides the one below.
func isOpaque(f *os.File) bool {
	var v [1]byte
	n, err := unix.Fgetxattr(int(f.Fd()), "trusted.overlay.opaque", v[:])
	return err == nil && n == 1 && v[0] == 'y'
}
