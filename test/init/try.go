package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// verdict prints what became of an attempt.
func verdict(what string, err error) error {
	if err == nil {
		fmt.Println(what + ": allowed")
		return nil
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	fmt.Printf("%s: %v\n", what, err)
	return nil
}

func tryMount(args []string) error {
	target := "/tmp"
	if len(args) > 0 {
		target = args[0]
	}
	return verdict("mount", unix.Mount("none", target, "tmpfs", 0, ""))
}

func tryUnmount(args []string) error { return verdict("umount", unix.Unmount(args[0], 0)) }

// tryReboot asks for a command that does not exist: who may reboot gets EINVAL.
func tryReboot([]string) error {
	_, _, errno := unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, 0x1234, 0, 0, 0)
	return verdict("reboot", errno)
}

func tryKexec([]string) error {
	_, _, errno := unix.Syscall6(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0, 0, 0)
	return verdict("kexec", errnoOrNil(errno))
}

func tryModule([]string) error {
	_, _, errno := unix.Syscall(unix.SYS_DELETE_MODULE, 0, 0, 0)
	return verdict("module", errnoOrNil(errno))
}

func tryKeyctl([]string) error {
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	return verdict("keyctl", err)
}

func errnoOrNil(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

var kinds = map[string]int{
	"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET,
	"uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP,
}

func tryUnshare(args []string) error {
	return verdict("unshare "+args[0], unix.Unshare(kinds[args[0]]))
}

// tryMknod makes a node: path, major, minor; and opens it.
func tryMknod(args []string) error {
	major, _ := strconv.Atoi(args[1])
	minor, _ := strconv.Atoi(args[2])
	err := unix.Mknod(args[0], unix.S_IFBLK|0o600, int(unix.Mkdev(uint32(major), uint32(minor))))
	verdict("mknod "+args[0], err)
	if err != nil {
		return nil
	}
	defer os.Remove(args[0])
	return tryOpen(args[:1])
}

func tryPtrace(args []string) error {
	pid, _ := strconv.Atoi(args[0])
	return verdict("ptrace", unix.PtraceAttach(pid))
}

func setUser(args []string) error {
	uid, _ := strconv.Atoi(args[0])
	return verdict("setuid", syscall.Setuid(uid))
}

func tryChroot(args []string) error { return verdict("chroot", unix.Chroot(args[0])) }

// tryOpen opens paths for reading and writing, or for reading when that is refused.
func tryOpen(paths []string) error {
	for _, p := range paths {
		fd, err := unix.Open(p, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		verdict("open "+p, err)
	}
	return nil
}

// writeFile writes text to a path: path, text.
func writeFile(args []string) error {
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE, 0o644)
	if err == nil {
		_, err = f.WriteString(args[1])
		f.Close()
	}
	return verdict("write "+args[0], err)
}

func makeDir(args []string) error { return verdict("mkdir "+args[0], unix.Mkdir(args[0], 0o755)) }

func tryRawSocket([]string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err == nil {
		unix.Close(fd)
	}
	return verdict("raw socket", err)
}
