package confine

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// allowed is the list of system calls of a child: what the Go runtime and package
// extract make. Others fail with EPERM. The names of all architectures are in it.
func allowed() *specs.LinuxSeccomp {
	eperm := uint(unix.EPERM)
	return &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &eperm,
		Syscalls: []specs.LinuxSyscall{
			{Action: specs.ActAllow, Names: []string{ // the program, its memory and its threads
				"execveat", "exit", "exit_group", "brk", "mmap", "munmap", "mprotect", "madvise", "mincore",
				"arch_prctl", "set_tid_address", "set_robust_list", "rseq", "clone", "futex", "sched_yield",
				"sched_getaffinity", "gettid", "getpid", "tgkill", "sigaltstack", "rt_sigaction", "rt_sigprocmask",
				"rt_sigreturn", "nanosleep", "clock_nanosleep", "clock_gettime", "restart_syscall", "getrandom",
				"prlimit64", "getrlimit", "uname", "setitimer", "timer_create", "timer_settime", "timer_delete",
			}},
			{Action: specs.ActAllow, Names: []string{ // descriptors
				"read", "write", "close", "fcntl", "pread64", "lseek", "dup3", "pipe2", "eventfd2",
				"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "recvmsg", "sendmsg", "recvfrom", "sendto",
			}},
			{Action: specs.ActAllow, Names: []string{ // files
				"open", "openat", "openat2", "readlinkat", "newfstatat", "fstat", "fstatfs", "statfs", "getdents64",
				"mkdirat", "mknodat", "linkat", "symlinkat", "unlinkat", "fchown", "fchownat", "chmod", "fchmod", "fchmodat",
				"utimensat", "setxattr", "lsetxattr", "fsetxattr", "ftruncate", "fallocate",
			}},
		},
	}
}
