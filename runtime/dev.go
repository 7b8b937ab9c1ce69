package runtime

import (
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// nodes are the devices that every container has (OCI runtime spec, "Default Devices").
var nodes = [...]struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// folders are where other file systems are nearly always mounted: made here they need
// not be searched in vain first.
var folders = [...]string{"pts", "mqueue", "shm"}

func makeFolder(dir int, name string) error {
	if err := unix.Mkdirat(dir, name, 0o755); err != nil {
		return fmt.Errorf("cannot create /dev/%s: mkdirat: %w", name, err)
	}
	if err := unix.Fchmodat(dir, name, 0o755, 0); err != nil {
		return fmt.Errorf("cannot set the mode of /dev/%s: fchmodat: %w", name, err)
	}
	return nil
}

// links are the links that every container has in /dev.
var links = [...]struct{ name, to string }{
	{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
	{"core", "/proc/kcore"}, // the last: only where the kernel has that file
}

// populateDev fills a new /dev. The file system belongs to the host's user namespace,
// so its nodes work even where the container has one of its own.
func (b *builder) populateDev(dev *os.File) error {
	dir := int(dev.Fd())
	for _, n := range nodes {
		if err := makeNode(dir, n.name, unix.S_IFCHR|0o666, unix.Mkdev(n.major, n.minor)); err != nil {
			return err
		}
	}
	for _, name := range folders {
		if err := makeFolder(dir, name); err != nil {
			return err
		}
	}
	there := links[:]
	if !b.rt.kcore {
		there = there[:len(there)-1]
	}
	for _, l := range there {
		if err := unix.Symlinkat(l.to, dir, l.name); err != nil {
			return fmt.Errorf("cannot create link /dev/%s: symlinkat: %w", l.name, err)
		}
	}
	return nil
}

// makeNode sets the mode by itself: the engine's umask may be anything.
func makeNode(dir int, name string, mode uint32, dev uint64) error {
	if err := unix.Mknodat(dir, name, mode, int(dev)); err != nil {
		return fmt.Errorf("cannot create device %s: mknodat: %w", name, err)
	}
	if err := unix.Fchmodat(dir, name, mode&0o7777, 0); err != nil {
		return fmt.Errorf("cannot set the mode of device %s: fchmodat: %w", name, err)
	}
	return nil
}

// devices creates the devices of the spec, in place of what may be there already
// when that is a default device.
func (b *builder) devices() error {
	for _, d := range b.spec.Linux.Devices {
		if err := b.device(d); err != nil {
			return fmt.Errorf("cannot create device %s: %w", d.Path, err)
		}
	}
	return nil
}

func (b *builder) device(d specs.LinuxDevice) error {
	mode, err := deviceMode(d)
	if err != nil {
		return err
	}
	t, err := b.trees.resolve(path.Dir(path.Clean("/" + d.Path)))
	if err != nil {
		return err
	}
	if t.tree.root == nil {
		return fault.New(fault.Invalid, "%s is not a place for devices", t.tree.at)
	}
	dir, err := t.place.Mkdir(0o755, b.rootUID, b.rootGID)
	if err != nil {
		return err
	}
	defer dir.Close()
	name := path.Base(d.Path)
	rdev := unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	// The root file system's nodes are not ours to replace; in our /dev they are.
	if t.tree.at == "/dev" {
		if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	if err := makeNode(int(dir.Fd()), name, mode, rdev); err != nil {
		return err
	}
	return b.ownDevice(dir, name, d)
}

func (b *builder) ownDevice(dir *os.File, name string, d specs.LinuxDevice) error {
	if d.UID == nil && d.GID == nil {
		return nil
	}
	uid, gid := b.rootUID, b.rootGID
	var err error
	if d.UID != nil {
		if uid, err = b.owner.uid(*d.UID); err != nil {
			return err
		}
	}
	if d.GID != nil {
		if gid, err = b.owner.gid(*d.GID); err != nil {
			return err
		}
	}
	if err := unix.Fchownat(int(dir.Fd()), name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "fchownat", Path: d.Path, Err: err}
	}
	return nil
}

func deviceMode(d specs.LinuxDevice) (uint32, error) {
	mode := uint32(0o666)
	if d.FileMode != nil {
		mode = uint32(d.FileMode.Perm())
	}
	switch d.Type {
	case "c", "u":
		return mode | unix.S_IFCHR, nil
	case "b":
		return mode | unix.S_IFBLK, nil
	case "p":
		return mode | unix.S_IFIFO, nil
	}
	return 0, fault.New(fault.Invalid, "unknown device type %q", d.Type)
}
