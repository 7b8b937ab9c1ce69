package mount

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenIn opens path as a process whose root directory is root would: absolute links
// and ".." stay inside, and links of /proc are not followed (openat2(2),
// RESOLVE_IN_ROOT). O_CLOEXEC is added to flags.
func OpenIn(root *os.File, path string, flags int) (*os.File, error) {
	return openIn(root, path, flags, 0)
}

// openIn adds resolve to how the path is looked up.
func openIn(root *os.File, path string, flags int, resolve uint64) (*os.File, error) {
	if path == "" {
		path = "."
	}
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	for {
		fd, err := unix.Openat2(int(root.Fd()), path, &how)
		// EAGAIN: a rename raced with "..", which the kernel refuses to judge.
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		runtime.KeepAlive(root)
		if err != nil {
			return nil, &os.PathError{Op: "openat2", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

// A Place is a path resolved inside a tree: the deepest directory on the way that
// exists, where it is, and what is missing below it.
type Place struct {
	Dir     *os.File // O_PATH; the object itself when Missing is empty
	Path    string   // where Dir is in the tree, free of links: "/" is the tree's root
	Missing []string // names to be created below Dir, outermost first
}

// maxLinks is how many dangling links Resolve follows, as many as the kernel follows.
const maxLinks = 40

// Resolve finds p inside root. A link that points to something missing is followed
// to where its target would be, never out of root.
func Resolve(root *os.File, p string) (Place, error) {
	p = path.Clean("/" + p)
	for range maxLinks {
		place, link, err := resolve(root, p)
		if err != nil || link == "" {
			return place, err
		}
		place.Dir.Close()
		p = link
	}
	return Place{}, &os.PathError{Op: "openat2", Path: p, Err: unix.ELOOP}
}

// resolve walks up from p until something exists. When the first missing name is a
// dangling link, the second result is the path to try instead.
func resolve(root *os.File, p string) (Place, string, error) {
	var missing []string
	for dir := p; ; dir = path.Dir(dir) {
		// Where no link is on the way, as is the rule, the path is what it says.
		f, err := openIn(root, dir, unix.O_PATH, unix.RESOLVE_NO_SYMLINKS)
		straight := err == nil
		if errors.Is(err, unix.ELOOP) {
			f, err = OpenIn(root, dir, unix.O_PATH)
		}
		if errors.Is(err, unix.ENOENT) && dir != "/" {
			missing = append([]string{path.Base(dir)}, missing...)
			continue
		}
		if err != nil {
			return Place{}, "", err
		}
		place := Place{f, dir, missing}
		if !straight {
			if place.Path, err = below(root, f); err != nil {
				f.Close()
				return Place{}, "", err
			}
		}
		if len(missing) == 0 {
			return place, "", nil
		}
		target, err := readlinkAt(f, missing[0])
		if err != nil { // not a link: nothing is there
			return place, "", nil
		}
		if !path.IsAbs(target) {
			target = path.Join(place.Path, target)
		}
		return place, path.Join("/", target, path.Join(missing[1:]...)), nil
	}
}

// below is the path of f from root, which is above it.
func below(root, f *os.File) (string, error) {
	top, err := where(root)
	if err != nil {
		return "", err
	}
	p, err := where(f)
	if err != nil || top == "/" {
		return p, err
	}
	return path.Join("/", strings.TrimPrefix(p, top)), nil
}

// where asks the kernel for the path of f. For a file in a detached mount that is
// its path from the root of the mount.
func where(f *os.File) (string, error) {
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
}

func readlinkAt(dir *os.File, name string) (string, error) {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(int(dir.Fd()), name, b[:])
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// MkdirIn makes path a directory inside root, creating what is missing on the way,
// owned by uid and gid, and returns it opened with O_PATH.
func MkdirIn(root *os.File, path string, mode uint32, uid, gid int) (*os.File, error) {
	return createIn(root, path, mode, uid, gid, mkdir)
}

// CreateIn is MkdirIn for a regular file; the directories on the way get mode 0755.
func CreateIn(root *os.File, path string, mode uint32, uid, gid int) (*os.File, error) {
	return createIn(root, path, mode, uid, gid, createFile)
}

func createIn(root *os.File, p string, mode uint32, uid, gid int, last maker) (*os.File, error) {
	place, err := Resolve(root, p)
	if err != nil {
		return nil, err
	}
	return place.create(mode, uid, gid, last)
}

// Mkdir creates what is missing as directories and returns the last, as MkdirIn.
func (p Place) Mkdir(mode uint32, uid, gid int) (*os.File, error) {
	return p.create(mode, uid, gid, mkdir)
}

// Create creates what is missing, the last as a regular file, as CreateIn.
func (p Place) Create(mode uint32, uid, gid int) (*os.File, error) {
	return p.create(mode, uid, gid, createFile)
}

// maker makes one name in a directory, where it is not there already. The mode is
// set by itself: the process's umask may be anything.
type maker func(dir int, name string, mode uint32) error

func mkdir(dir int, name string, mode uint32) error {
	err := unix.Mkdirat(dir, name, mode)
	if err == nil {
		err = unix.Fchmodat(dir, name, mode, 0)
	}
	if err != nil && err != unix.EEXIST {
		return fmt.Errorf("mkdirat: %w", err)
	}
	return nil
}

func createFile(dir int, name string, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_WRONLY, mode)
	if err == unix.EEXIST {
		return nil
	}
	if err == nil {
		err = unix.Fchmod(fd, mode)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("openat: %w", err)
	}
	return nil
}

// create takes p.Dir over. Each name is created in an open directory and opened
// without following links, so whoever writes into the tree meanwhile can make the
// call fail but cannot lead it elsewhere.
func (p Place) create(mode uint32, uid, gid int, last maker) (*os.File, error) {
	dir := p.Dir
	for i, name := range p.Missing {
		make, m := mkdir, uint32(0o755)
		if i == len(p.Missing)-1 {
			make, m = last, mode
		}
		next, err := makeIn(dir, name, m, uid, gid, make)
		dir.Close()
		if err != nil {
			return nil, fmt.Errorf("cannot create %s: %w", path.Join(p.Path, path.Join(p.Missing[:i+1]...)), err)
		}
		dir = next
	}
	return dir, nil
}

func makeIn(dir *os.File, name string, mode uint32, uid, gid int, make maker) (*os.File, error) {
	if strings.Contains(name, "/") || name == ".." || name == "." {
		return nil, fmt.Errorf("mkdirat: %w", unix.EINVAL)
	}
	fd := int(dir.Fd())
	defer runtime.KeepAlive(dir)
	if err := make(fd, name, mode); err != nil {
		return nil, err
	}
	made, err := unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("openat: %w", err)
	}
	f := os.NewFile(uintptr(made), name)
	if uid == 0 && gid == 0 {
		return f, nil
	}
	if err := unix.Fchownat(made, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		f.Close()
		return nil, fmt.Errorf("fchownat: %w", err)
	}
	return f, nil
}
