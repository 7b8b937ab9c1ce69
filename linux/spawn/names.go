package spawn

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// callName names the system calls that scripts use.
func callName(nr uintptr) string {
	for _, c := range [...]struct {
		nr   uintptr
		name string
	}{
		{unix.SYS_CAPSET, "capset"}, {unix.SYS_CHDIR, "chdir"}, {unix.SYS_CHROOT, "chroot"},
		{unix.SYS_CLONE, "clone"}, {unix.SYS_CLONE3, "clone3"}, {unix.SYS_CLOSE, "close"}, {unix.SYS_CLOSE_RANGE, "close_range"},
		{unix.SYS_DUP, "dup"}, {unix.SYS_DUP3, "dup3"}, {unix.SYS_EXECVE, "execve"}, {unix.SYS_EXECVEAT, "execveat"},
		{unix.SYS_FCHDIR, "fchdir"}, {unix.SYS_FCHMOD, "fchmod"}, {unix.SYS_FCHMODAT, "fchmodat"},
		{unix.SYS_FCHOWN, "fchown"}, {unix.SYS_FCHOWNAT, "fchownat"}, {unix.SYS_FCNTL, "fcntl"},
		{unix.SYS_FSCONFIG, "fsconfig"}, {unix.SYS_FSMOUNT, "fsmount"}, {unix.SYS_FSOPEN, "fsopen"},
		{unix.SYS_FTRUNCATE, "ftruncate"}, {unix.SYS_GETPID, "getpid"}, {unix.SYS_IOCTL, "ioctl"},
		{unix.SYS_IOPRIO_SET, "ioprio_set"}, {unix.SYS_KEYCTL, "keyctl"}, {unix.SYS_KILL, "kill"},
		{unix.SYS_LANDLOCK_RESTRICT_SELF, "landlock_restrict_self"}, {unix.SYS_LINKAT, "linkat"},
		{unix.SYS_MADVISE, "madvise"}, {unix.SYS_MKDIRAT, "mkdirat"}, {unix.SYS_MKNODAT, "mknodat"}, {unix.SYS_MOUNT, "mount"},
		{unix.SYS_MOUNT_SETATTR, "mount_setattr"}, {unix.SYS_MOVE_MOUNT, "move_mount"},
		{unix.SYS_OPEN_TREE, "open_tree"}, {unix.SYS_OPENAT, "openat"}, {unix.SYS_OPENAT2, "openat2"},
		{unix.SYS_PERSONALITY, "personality"}, {unix.SYS_PIPE2, "pipe2"}, {unix.SYS_PIVOT_ROOT, "pivot_root"},
		{unix.SYS_PPOLL, "ppoll"}, {unix.SYS_PRCTL, "prctl"}, {unix.SYS_PRLIMIT64, "prlimit64"},
		{unix.SYS_READ, "read"}, {unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask"},
		{unix.SYS_SCHED_SETATTR, "sched_setattr"}, {unix.SYS_SECCOMP, "seccomp"},
		{unix.SYS_SETDOMAINNAME, "setdomainname"}, {unix.SYS_SETGID, "setgid"}, {unix.SYS_SETGROUPS, "setgroups"},
		{unix.SYS_SETHOSTNAME, "sethostname"}, {unix.SYS_SETNS, "setns"}, {unix.SYS_SETPRIORITY, "setpriority"},
		{unix.SYS_SETRESGID, "setresgid"}, {unix.SYS_SETRESUID, "setresuid"}, {unix.SYS_SETSID, "setsid"},
		{unix.SYS_SETUID, "setuid"}, {unix.SYS_SYMLINKAT, "symlinkat"}, {unix.SYS_UMASK, "umask"},
		{unix.SYS_UMOUNT2, "umount2"}, {unix.SYS_UNLINKAT, "unlinkat"}, {unix.SYS_UNSHARE, "unshare"},
		{unix.SYS_WRITE, "write"},
	} {
		if c.nr == nr {
			return c.name
		}
	}
	return "system call " + strconv.Itoa(int(nr))
}
