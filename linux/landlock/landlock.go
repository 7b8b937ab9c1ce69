// Package landlock makes rule sets that deny a process all files but those named
// (landlock(7)).
package landlock

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights to files. Those of all versions that Version accepts.
const (
	// Execute is the right to execute a file.
	Execute = unix.LANDLOCK_ACCESS_FS_EXECUTE
	// Read is the right to read a file.
	Read = unix.LANDLOCK_ACCESS_FS_READ_FILE
	// Build is all that making, filling, linking and removing a tree takes.
	Build = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// Version returns the version of the kernel's landlock (its ABI), 0 where it has none
// or none that serves. The first version counts as none: it lets nobody link a file
// into another directory.
func Version() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || v < 2 {
		return 0
	}
	return int(v)
}

// A Rule allows rights to a file, or to a directory and all below it.
type Rule struct {
	File   *os.File // may be O_PATH
	Rights uint64
}

// Ruleset returns the rule set that denies whatever the kernel's version, which must
// not be 0, knows how to deny, but for rules. landlock_restrict_self(2) puts a thread
// under it. From version 4 it also denies TCP, from 6 signals and abstract sockets of
// processes outside.
func Ruleset(rules ...Rule) (*os.File, error) {
	attr := denied(Version())
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return nil, fmt.Errorf("cannot make landlock rule set: landlock_create_ruleset: %w", errno)
	}
	f := os.NewFile(fd, "landlock rule set")
	for _, r := range rules {
		beneath := unix.LandlockPathBeneathAttr{Allowed_access: r.Rights & attr.Handled_access_fs, Parent_fd: int32(r.File.Fd())}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
		if errno != 0 {
			f.Close()
			return nil, fmt.Errorf("cannot allow %s: landlock_add_rule: %w", r.File.Name(), errno)
		}
	}
	return f, nil
}

// denied is everything that version v can deny, linux/landlock.h.
func denied(v int) unix.LandlockRulesetAttr {
	var a unix.LandlockRulesetAttr
	a.Handled_access_fs = Build | Execute | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
	if v < 3 {
		a.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if v >= 4 {
		a.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if v >= 5 {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if v >= 6 {
		a.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return a
}
