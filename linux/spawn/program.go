package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Unwritable returns a path by which this process can execute the program exe so that
// nobody can write to it by way of /proc/PID/exe of a process that executes it: a child
// before its exec, or one whose program is a link to /proc/self/exe (CVE-2019-5736).
// That a running program cannot be written lasts only while it runs. done is for after
// the exec.
func Unwritable(exe string) (path string, done func(), err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(exe, &fs); err != nil {
		return "", nil, &os.PathError{Op: "statfs", Path: exe, Err: err}
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return exe, func() {}, nil
	}
	// By its path: a link in /proc may lead to a mount of another mount namespace.
	file, err := filepath.EvalSymlinks(exe)
	if err != nil {
		return "", nil, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, file, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return "", nil, &os.PathError{Op: "open_tree", Path: file, Err: err}
	}
	// Detached, the mount is out of everybody's reach once its descriptor is closed.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return "", nil, fmt.Errorf("cannot make %s read-only: mount_setattr: %w", exe, err)
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), func() { unix.Close(fd) }, nil
}
