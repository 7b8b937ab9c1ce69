package runtime

import (
	"fmt"
	"os"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/mount"
)

// ownDevpts gives a new devpts, whose root the kernel makes the host's root's, to the
// container's root.
func (b *builder) ownDevpts(pts *os.File) error {
	b.pts = pts
	if b.owner.m == nil {
		return nil
	}
	for _, name := range []string{"", "ptmx"} {
		if err := unix.Fchownat(int(pts.Fd()), name, b.rootUID, b.rootGID, unix.AT_EMPTY_PATH); err != nil {
			return &os.PathError{Op: "fchownat", Path: "/dev/pts/" + name, Err: err}
		}
	}
	return nil
}

// openTerminal makes a terminal in the container's devpts, the slave also its
// /dev/console.
func (b *builder) openTerminal() error {
	if b.pts == nil {
		return fault.New(fault.Invalid, "cannot make terminal: the container has no devpts of its own")
	}
	fd, err := unix.Openat(int(b.pts.Fd()), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("cannot make terminal: openat ptmx: %w", err)
	}
	b.p.Console = os.NewFile(uintptr(fd), "ptmx")
	b.keep(b.p.Console)
	if b.tty, err = openPeer(b.p.Console, b.spec.Process.ConsoleSize); err != nil {
		return err
	}
	b.keep(b.tty)
	if err := unix.Fchown(int(b.tty.Fd()), b.p.StdioUID, -1); err != nil {
		return fmt.Errorf("cannot give the terminal to the user: fchown: %w", err)
	}
	// The console is a file for the terminal's mount to cover.
	t, err := b.trees.resolve("/dev/console")
	if err != nil {
		return fmt.Errorf("cannot find /dev/console: %w", err)
	}
	if t.tree.root == nil {
		return fault.New(fault.Invalid, "cannot make /dev/console in %s", t.tree.at)
	}
	pin, err := t.place.Create(0o600, b.rootUID, b.rootGID)
	if err != nil {
		return err
	}
	b.keep(pin)
	b.attachments = append(b.attachments, attachment{object: "/dev/console", terminal: b.tty, pin: pin})
	return nil
}

// openPeer opens the other end of a terminal by the master alone: a path could lead
// to anything that the container put there.
func openPeer(master *os.File, size *specs.Box) (*os.File, error) {
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("cannot unlock terminal: ioctl TIOCSPTLCK: %w", err)
	}
	if size != nil {
		ws := unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}
		if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &ws); err != nil {
			return nil, fmt.Errorf("cannot set the terminal's size: ioctl TIOCSWINSZ: %w", err)
		}
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, fmt.Errorf("cannot open terminal: ioctl TIOCGPTPEER: %w", errno)
	}
	return os.NewFile(peer, "tty"), nil
}

// openTerminalOf opens a new terminal in the devpts of a running container, whose
// root directory is given. The container's root may have put anything at /dev/ptmx;
// nothing but device 5:2 of a devpts is opened.
func openTerminalOf(root *os.File) (*os.File, error) {
	f, err := mount.OpenIn(root, "/dev/pts/ptmx", unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("cannot make terminal: %w", err)
	}
	defer f.Close()
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil || fs.Type != unix.DEVPTS_SUPER_MAGIC ||
		unix.Fstat(int(f.Fd()), &st) != nil || st.Rdev != unix.Mkdev(5, 2) {
		return nil, fault.New(fault.Conflict, "cannot make terminal: the container's /dev/pts/ptmx is not a terminal multiplexer")
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make terminal: open ptmx: %w", err)
	}
	return os.NewFile(uintptr(fd), "ptmx"), nil
}
