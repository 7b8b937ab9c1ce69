package extract

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Adopt gives the directories that layer implies the owner, mode, time and
// attributes they have in the layers below, top first. Overlayfs shows the
// attributes of the topmost layer, so without it a layer that brings etc/passwd
// alone would reset /etc itself.
func Adopt(layer *os.File, implied []string, below []string) error {
	if len(implied) == 0 || len(below) == 0 {
		return nil
	}
	lowers := make([]*os.File, 0, len(below))
	defer func() {
		for _, f := range lowers {
			f.Close()
		}
	}()
	for _, dir := range below {
		f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("cannot open layer: %w", err)
		}
		lowers = append(lowers, f)
	}
	for _, name := range implied {
		if err := adopt(layer, name, lowers); err != nil {
			return fmt.Errorf("cannot give %q its attributes of the layer below: %w", name, err)
		}
	}
	return nil
}

func adopt(layer *os.File, name string, lowers []*os.File) error {
	for _, l := range lowers {
		// O_DIRECTORY keeps it from opening a device, which can have effects.
		from, err := openIn(l, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil // a link, a whiteout, a file: nothing to take over
		}
		defer from.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(from.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return err
		}
		to, err := openIn(layer, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil // replaced by a later member
		}
		if err != nil {
			return err
		}
		defer to.Close()
		return copyAttributes(int(to.Fd()), int(from.Fd()), &st)
	}
	return nil
}

func copyAttributes(to, from int, st *unix.Stat_t) error {
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return os.NewSyscallError("fchown", err)
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := copyXattrs(to, from); err != nil {
		return err
	}
	ts := []unix.Timespec{st.Mtim, st.Mtim}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(to, "", ts, unix.AT_EMPTY_PATH))
}

func copyXattrs(to, from int) error {
	n, err := unix.Flistxattr(from, nil)
	if err != nil || n == 0 {
		return nil
	}
	list := make([]byte, n)
	if n, err = unix.Flistxattr(from, list); err != nil {
		return os.NewSyscallError("flistxattr", err)
	}
	for k := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(k, "trusted.overlay.") {
			continue
		}
		v := make([]byte, 64<<10) // XATTR_SIZE_MAX
		m, err := unix.Fgetxattr(from, k, v)
		if err != nil {
			return os.NewSyscallError("fgetxattr", err)
		}
		if err := unix.Fsetxattr(to, k, v[:m], 0); err != nil {
			return os.NewSyscallError("fsetxattr", err)
		}
	}
	return nil
}
