//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// prepare mounts what a Linux system has, loads the kernel's modules and leaves the
// initial root, out of which the kernel lets nobody pivot.
func prepare() error {
	if err := leaveInitialRoot(); err != nil {
		return err
	}
	for _, m := range []struct {
		fs, at, options string
		flags           uintptr
	}{
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
		{"devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=620,gid=5", 0},
		{"tmpfs", "/dev/shm", "", unix.MS_NOSUID | unix.MS_NODEV},
		{"mqueue", "/dev/mqueue", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "/tmp", "mode=1777", 0},
		{"cgroup2", "/sys/fs/cgroup", "nsdelegate,memory_recursiveprot", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fs, m.at, m.fs, m.flags, m.options); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.at, err)
		}
	}
	for link, to := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2"} {
		if err := os.Symlink(to, link); err != nil {
			return err
		}
	}
	// The initial root cannot be id-mapped, so nothing that tests make should be there.
	for name, value := range map[string]string{"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp"} {
		os.Setenv(name, value)
	}
	if err := unix.Sethostname([]byte("vm")); err != nil {
		return err
	}
	return loadModules()
}

func leaveInitialRoot() error {
	if err := os.MkdirAll("/root", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/", "/root", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind the root: %w", err)
	}
	if err := unix.Chdir("/root"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("cannot move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// loadModules loads /modules/*.ko in the order of /modules/order, in which each comes
// after those it needs.
func loadModules() error {
	b, err := os.ReadFile("/modules/order")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(b)) {
		f, err := os.Open("/modules/" + name + ".ko")
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("cannot load module %s: %w", name, err)
		}
	}
	return nil
}
