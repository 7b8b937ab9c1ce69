package mount

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/lib/thread"
	"hoy/linux/idmap"
)

// A Part is a detached mount and the path where it belongs in a tree.
type Part struct {
	File *os.File
	At   string
}

// Compose puts parts into root, in their order, and returns all of it as one detached
// tree, in which a path leads from one mount into the next as in a container. root
// and the parts are detached mounts; their descriptors stay usable, each for its own
// mount alone. Mount points that are missing are made, for uid and gid; links are
// followed inside.
func Compose(root *os.File, parts []Part, uid, gid int) (*os.File, error) {
	return staged(func() (tree *os.File, err error) {
		err = idmap.As(uid, gid, func() error {
			tree, err = compose(root, parts)
			return err
		})
		return tree, err
	})
}

// compose runs on the staging thread, in its directory.
func compose(root *os.File, parts []Part) (*os.File, error) {
	const tree = "tree"
	var undo cleanup.Stack
	defer undo.Run()
	if err := os.Mkdir(tree, 0o700); err != nil {
		return nil, fmt.Errorf("cannot stage tree: %w", err)
	}
	undo.Add(func() { os.Remove(tree) })
	if err := Attach(root, tree); err != nil {
		return nil, err
	}
	undo.Add(func() { unix.Unmount(tree, unix.MNT_DETACH) })
	// The descriptor of before the move, opened again: it now is in this namespace.
	top, err := os.OpenFile(tree, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	for _, p := range parts {
		if err := put(top, p); err != nil {
			return nil, fmt.Errorf("cannot attach mount to %s: %w", p.At, err)
		}
	}
	return Bind(tree, true)
}

func put(top *os.File, p Part) error {
	at, err := point(top, p)
	if err != nil {
		return err
	}
	defer at.Close()
	err = unix.MoveMount(int(p.File.Fd()), "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return os.NewSyscallError("move_mount", err)
}

// point finds the place of a part, or makes it.
func point(top *os.File, p Part) (*os.File, error) {
	at, err := OpenIn(top, p.At, unix.O_PATH)
	if !errors.Is(err, unix.ENOENT) {
		return at, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(p.File.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return MkdirIn(top, p.At, 0o755, 0, 0)
	}
	return CreateIn(top, p.At, 0o755, 0, 0)
}

// RootOf returns the file system at path, "/" for its root, in a process's mount
// namespace, without what is mounted in it, as a detached mount: another way to the same
// file system, not another instance of it. No mount goes from one to the other.
func RootOf(pidfd *os.File, path string) (f *os.File, err error) {
	thread.Run(func() { // the thread's namespace is not the process's
		defer runtime.KeepAlive(pidfd)
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			err = fmt.Errorf("cannot leave the engine's directories: unshare: %w", err)
			return
		}
		if err = unix.Setns(int(pidfd.Fd()), unix.CLONE_NEWNS); err != nil {
			err = fmt.Errorf("cannot enter the container's mount namespace: setns: %w", err)
			return
		}
		f, err = Bind(path, false)
	})
	if err != nil {
		return nil, err
	}
	// The process may share its mounts (mount_namespaces(7)), as engines and clusters in
	// containers do: what is mounted and unmounted here was there then, and the other way.
	if err := SetAttr(f, false, 0, 0, unix.MS_PRIVATE, nil); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
