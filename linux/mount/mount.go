// Package mount makes mounts as descriptors: detached trees that nobody sees until
// they are moved to their place by move_mount(2).
package mount

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Option is a parameter of a file system: a string, or a flag when Value is empty.
type Option struct{ Key, Value string }

// New makes a detached mount of a new instance of the named file system. attr holds
// MOUNT_ATTR_* bits. source is what /proc/self/mountinfo shows; empty means the type.
func New(fstype, source string, attr int, opts ...Option) (*os.File, error) {
	fs, err := open(fstype)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if source == "" {
		source = fstype
	}
	if err := setString(fs, fstype, Option{"source", source}); err != nil {
		return nil, err
	}
	for _, o := range opts {
		if err := setOption(fs, fstype, o); err != nil {
			return nil, err
		}
	}
	return create(fs, fstype, attr)
}

// Tmpfs makes a detached tmpfs.
func Tmpfs(attr int, opts ...Option) (*os.File, error) {
	return New("tmpfs", "", attr, opts...)
}

func open(fstype string) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot open file system %s: fsopen: %w", fstype, err)
	}
	return fs, nil
}

func setOption(fs int, fstype string, o Option) error {
	if o.Value != "" {
		return setString(fs, fstype, o)
	}
	if err := unix.FsconfigSetFlag(fs, o.Key); err != nil {
		return explain(fs, fstype, o.Key, err)
	}
	return nil
}

func setString(fs int, fstype string, o Option) error {
	if err := unix.FsconfigSetString(fs, o.Key, o.Value); err != nil {
		return explain(fs, fstype, o.Key+"="+o.Value, err)
	}
	return nil
}

func create(fs int, fstype string, attr int) (*os.File, error) {
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, explain(fs, fstype, "create", err)
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return nil, fmt.Errorf("cannot mount %s: fsmount: %w", fstype, err)
	}
	return os.NewFile(uintptr(m), fstype), nil
}

// explain adds what the kernel says about a file system that it refuses: reading
// the descriptor of fsopen(2) gives its messages, each begun by "e ", "w " or "i ".
func explain(fs int, fstype, what string, err error) error {
	var b [512]byte
	if n, e := unix.Read(fs, b[:]); e == nil && n > 2 {
		return fmt.Errorf("cannot configure %s (%s): fsconfig: %w (%s)", fstype, what, err, bytes.TrimSpace(b[2:n]))
	}
	return fmt.Errorf("cannot configure %s (%s): fsconfig: %w", fstype, what, err)
}

// Bind makes a detached copy of the mount at path (links are followed: the path is
// the host administrator's), with the mounts below it when recursive.
func Bind(path string, recursive bool) (*os.File, error) {
	return bindAt(unix.AT_FDCWD, path, recursive)
}

// BindFile is Bind of the file that f refers to.
func BindFile(f *os.File, recursive bool) (*os.File, error) {
	return bindAt(int(f.Fd()), "", recursive)
}

func bindAt(dir int, path string, recursive bool) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(dir, path, flags)
	if err != nil {
		return nil, fmt.Errorf("cannot bind %s: open_tree: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// SetAttr changes a detached mount: the MOUNT_ATTR_* bits to set and to clear, the
// propagation (MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE; 0 leaves it), and with
// userns the id-mapping. recursive changes the mounts below as well.
func SetAttr(f *os.File, recursive bool, set, clear, propagation uint64, userns *os.File) error {
	a := unix.MountAttr{Attr_set: set, Attr_clr: clear, Propagation: propagation}
	if userns != nil {
		a.Attr_set |= unix.MOUNT_ATTR_IDMAP
		a.Userns_fd = uint64(userns.Fd())
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(int(f.Fd()), "", flags, &a); err != nil {
		return fmt.Errorf("cannot change mount attributes of %s: mount_setattr: %w", f.Name(), err)
	}
	return nil
}

// Attach moves a detached mount to path.
func Attach(f *os.File, path string) error {
	err := unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("cannot attach %s to %s: move_mount: %w", f.Name(), path, err)
	}
	return nil
}

// AttachAt moves a detached mount to the file or directory that at refers to.
func AttachAt(f, at *os.File) error {
	err := unix.MoveMount(int(f.Fd()), "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("cannot attach %s to %s: move_mount: %w", f.Name(), at.Name(), err)
	}
	return nil
}
