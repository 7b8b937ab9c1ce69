package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/lib/fault"
	"hoy/linux/idmap"
)

// OverlayConfig says what an overlay is made of.
type OverlayConfig struct {
	Lower       []string // absolute paths of directories, top first; any number the kernel takes (500)
	Upper, Work string   // two directories in one folder; both empty: an overlay without upper layer
	Volatile    bool     // no fsync at the end: for layers that need not survive a crash
	ReadOnly    bool
	Context     string   // SELinux label of all files; "": as on disk
	UserNS      *os.File // id-map every layer by this user namespace (5.19); nil: as on disk
}

// options are those that do not name layers. What is changed must be in the upper
// layer as it is: some kernels are built to write references to the layers below
// there instead, which nobody could understand without these.
func (c OverlayConfig) options() []Option {
	var o []Option
	if c.Upper != "" {
		o = append(o, Option{"redirect_dir", "off"}, Option{"metacopy", "off"})
	}
	if c.Volatile {
		o = append(o, Option{Key: "volatile"})
	}
	return o
}

// Overlay makes a detached overlay mount. It takes the first way that this kernel
// has: layers by path, one at a time (6.7); layers by descriptor (6.13, id-mapped
// ones 6.15); or mount(2) with short names in a mount namespace that a thread of
// this package keeps for the purpose.
func Overlay(c OverlayConfig) (*os.File, error) {
	if len(c.Lower) == 0 || (c.Upper == "") != (c.Work == "") || filepath.Dir(c.Upper) != filepath.Dir(c.Work) {
		return nil, fault.New(fault.Invalid, "cannot make overlay of %d lower directories, upper %q and work %q", len(c.Lower), c.Upper, c.Work)
	}
	if c.Upper == "" && len(c.Lower) == 1 { // overlayfs wants two; one is a directory like any other
		return single(c)
	}
	var f *os.File
	err := asRoot(c, func() (err error) {
		f, err = anyWay(c)
		return err
	})
	return f, err
}

func single(c OverlayConfig) (*os.File, error) {
	f, err := Bind(c.Lower[0], false)
	if err != nil {
		return nil, err
	}
	attr := uint64(0)
	if c.ReadOnly {
		attr = unix.MOUNT_ATTR_RDONLY
	}
	if err := SetAttr(f, false, attr, 0, unix.MS_PRIVATE, c.UserNS); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func anyWay(c OverlayConfig) (*os.File, error) {
	f, err := byPath(c)
	if errors.Is(err, errNextWay) {
		f, err = byDescriptor(c)
	}
	if errors.Is(err, errNextWay) {
		f, err = byStaging(c)
	}
	return f, err
}

// asRoot runs f as the root of the overlay's user namespace: whoever makes an overlay
// also makes its temporary files, and on id-mapped layers only mapped users can. The
// work directory is on-disk root's, so its owner behind the map is the root looked for.
func asRoot(c OverlayConfig, f func() error) error {
	if c.UserNS == nil || c.Work == "" {
		return f()
	}
	work, err := layer(c.Work, c.UserNS)
	if err != nil {
		return err
	}
	defer work.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(work.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: c.Work, Err: err}
	}
	return idmap.As(int(st.Uid), int(st.Gid), f)
}

// errNextWay says that a way does not fit the kernel or the layers.
var errNextWay = errors.New("not possible this way")

// nextWay marks EINVAL, the answer of kernels that do not know a parameter, and EBADF,
// that of kernels which take no O_PATH descriptor as one (before 6.13).
func nextWay(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBADF) {
		return fmt.Errorf("%w (%w)", err, errNextWay)
	}
	return err
}

// maxFsconfig is the longest string that fsconfig(2) takes.
const maxFsconfig = 255

// byPath names each layer by its path.
func byPath(c OverlayConfig) (*os.File, error) {
	if c.UserNS != nil || len(c.Upper) > maxFsconfig || len(c.Work) > maxFsconfig {
		return nil, errNextWay
	}
	for _, l := range c.Lower {
		if len(l) > maxFsconfig {
			return nil, errNextWay
		}
	}
	return overlay(c, func(fs int) error {
		for _, l := range c.Lower {
			if err := setString(fs, "overlay", Option{"lowerdir+", l}); err != nil {
				return nextWay(err)
			}
		}
		if c.Upper == "" {
			return nil
		}
		if err := setString(fs, "overlay", Option{"upperdir", c.Upper}); err != nil {
			return err
		}
		return setString(fs, "overlay", Option{"workdir", c.Work})
	})
}

// byDescriptor gives each layer as a descriptor, id-mapped when asked.
func byDescriptor(c OverlayConfig) (*os.File, error) {
	var opened cleanup.Stack
	defer opened.Run()
	return overlay(c, func(fs int) error {
		for _, l := range c.Lower {
			f, err := layer(l, c.UserNS)
			if err != nil {
				return err
			}
			opened.Add(func() { f.Close() })
			if err := setFile(fs, "lowerdir+", f); err != nil {
				return err
			}
		}
		if c.Upper == "" {
			return nil
		}
		// Upper and work must be on one mount, so their common folder is mapped.
		dir, err := layer(filepath.Dir(c.Upper), c.UserNS)
		if err != nil {
			return err
		}
		opened.Add(func() { dir.Close() })
		for key, path := range map[string]string{"upperdir": c.Upper, "workdir": c.Work} {
			f, err := OpenIn(dir, filepath.Base(path), unix.O_PATH|unix.O_DIRECTORY)
			if err != nil {
				return err
			}
			opened.Add(func() { f.Close() })
			if err := setFile(fs, key, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// layer opens a directory of layers, as a detached id-mapped mount when userns is given.
func layer(path string, userns *os.File) (*os.File, error) {
	if userns == nil {
		return os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	f, err := Bind(path, false)
	if err != nil {
		return nil, err
	}
	if err := SetAttr(f, false, 0, 0, unix.MS_PRIVATE, userns); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func setFile(fs int, key string, f *os.File) error {
	if err := unix.FsconfigSetFd(fs, key, int(f.Fd())); err != nil {
		return nextWay(explain(fs, "overlay", key+"="+f.Name(), err))
	}
	return nil
}

// overlay makes a mount whose layers are set by the given function.
func overlay(c OverlayConfig, layers func(fs int) error) (*os.File, error) {
	fs, err := open("overlay")
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if err := setString(fs, "overlay", Option{"source", "overlay"}); err != nil {
		return nil, err
	}
	if c.Context != "" {
		if err := setString(fs, "overlay", Option{"context", c.Context}); err != nil {
			return nil, err
		}
	}
	if err := layers(fs); err != nil {
		return nil, err
	}
	for _, o := range c.options() {
		if err := setOption(fs, "overlay", o); err != nil {
			return nil, err
		}
	}
	attr := 0
	if c.ReadOnly {
		attr = unix.MOUNT_ATTR_RDONLY
	}
	f, err := create(fs, "overlay", attr)
	if c.UserNS != nil {
		err = nextWay(err) // before 6.15 the kernel refuses layers on detached mounts only here
	}
	return f, err
}
