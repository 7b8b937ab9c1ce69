package mount

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Sub makes a detached copy of what is at path below root, a directory or a file, with
// the mounts below it. root is a detached mount or a directory. A link that leads out
// of root, or an absolute one, is an error in docker's words, as is a path that is not
// there.
func Sub(root *os.File, path string) (*os.File, error) {
	f, err := copyOf(root, path)
	if !errors.Is(err, unix.EINVAL) {
		return f, err
	}
	return attached(root, func(string) (*os.File, error) { return copyOf(root, path) })
}

// attached runs do while root is attached at a place that only the staging thread sees:
// before 6.15 the kernel copies nothing of a detached mount. root is used up.
func attached(root *os.File, do func(place string) (*os.File, error)) (*os.File, error) {
	return staged(func() (*os.File, error) {
		const place = "whole"
		if err := os.Mkdir(place, 0o700); err != nil {
			return nil, err
		}
		defer os.Remove(place)
		if err := Attach(root, place); err != nil {
			return nil, err
		}
		defer unix.Unmount(place, unix.MNT_DETACH)
		return do(place)
	})
}

// copyOf resolves and copies: nothing can come between, the copy is of what was found.
func copyOf(root *os.File, path string) (*os.File, error) {
	f, err := OpenBeneath(root, path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return BindFile(f, true)
}

// Twin makes two copies of a detached mount, which is used up.
func Twin(root *os.File) (a, b *os.File, err error) {
	defer root.Close()
	if a, err = BindFile(root, true); err == nil {
		b, err = BindFile(root, true)
	}
	if errors.Is(err, unix.EINVAL) {
		a, err = attached(root, func(place string) (_ *os.File, err error) {
			if b, err = Bind(place, true); err != nil {
				return nil, err
			}
			return Bind(place, true)
		})
	}
	return a, b, err
}

// OpenBeneath opens path below root. A link that leads out of it, or an absolute one, is
// an error (openat2(2), RESOLVE_BENEATH). O_CLOEXEC is added to flags.
func OpenBeneath(root *os.File, path string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(root.Fd()), path, &how)
		runtime.KeepAlive(root)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN: // a rename raced with ".."
			continue
		case err == unix.EXDEV:
			return nil, fault.New(fault.Invalid, "path concatenation escapes the base directory, subpath: %s", path)
		case err != nil:
			return nil, fault.New(fault.NotFound, "cannot access path %s: %w", path, err)
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}
