package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/lib/thread"
	"hoy/linux/mount"
)

// sharedProc gives a container the procfs of the PID namespace that it joins. A procfs
// shows the PID namespace of the process that makes it, and nobody with the right to
// do so may show himself there: who is in it could trace him. So it is a copy of the
// mount that the namespace's owner has.
func (b *builder) sharedProc(m specs.Mount, a attributes) error {
	f, err := procOf(b.ns.pid)
	if err != nil {
		return err
	}
	b.keep(f)
	const all = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	if err := mount.SetAttr(f, false, a.set, all&^a.set, unix.MS_PRIVATE, nil); err != nil {
		return err
	}
	return b.attach(attachment{object: m.Destination, fstype: m.Type, shared: f}, true)
}

// procOf copies the procfs that is at /proc for the process of whose directory in /proc
// the given PID namespace was opened.
func procOf(pidns *os.File) (*os.File, error) {
	mntns, err := os.Open(filepath.Join(filepath.Dir(pidns.Name()), "mnt"))
	if err != nil {
		return nil, err
	}
	defer mntns.Close()
	var f *os.File
	thread.Run(func() { f, err = bindProc(int(mntns.Fd())) })
	if err != nil {
		return nil, err
	}
	if err := checkProcOf(f, pidns); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func bindProc(mntns int) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(mntns, unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("setns: %w", err)
	}
	return mount.Bind("/proc", false)
}

// checkProcOf makes sure that f is a procfs and shows the PID namespace: the container
// it is from may have mounted anything there.
func checkProcOf(f, pidns *os.File) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return fmt.Errorf("fstatfs: %w", err)
	}
	var want, first, root unix.Stat_t
	if err := unix.Fstat(int(pidns.Fd()), &want); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if fs.Type == unix.PROC_SUPER_MAGIC && unix.Fstat(int(f.Fd()), &root) == nil && root.Ino == procRootInode &&
		unix.Fstatat(int(f.Fd()), "1/ns/pid", &first, 0) == nil && first.Ino == want.Ino && first.Dev == want.Dev {
		return nil
	}
	return fault.New(fault.Conflict, "the container whose PID namespace is joined has no procfs of it at /proc")
}

// procPath is where a container has its procfs, and programs look for it.
const procPath = "/proc"

// procRootInode is PROC_ROOT_INO.
const procRootInode = 1

// checkProc refuses to mount on /proc what is no procfs, or only a part of one: programs
// that configure the container, this one among them, take what is there for the kernel's
// word (CVE-2019-16884). The host's own is allowed, as with runc.
func (a *attachment) checkProc() error {
	if a.fstype == "proc" {
		return nil
	}
	if a.source != nil {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(a.source.Fd()), &fs); err != nil {
			return fmt.Errorf("fstatfs: %w", err)
		}
		var root unix.Stat_t
		if err := unix.Fstat(int(a.source.Fd()), &root); err != nil {
			return fmt.Errorf("fstat: %w", err)
		}
		if fs.Type == unix.PROC_SUPER_MAGIC && root.Ino == procRootInode {
			return nil
		}
	}
	return fault.New(fault.Invalid, "it is not a procfs")
}

// inProc are the files of procfs that something may be mounted on: what a container
// tool replaces by the container's own figures.
var inProc = map[string]bool{
	"cpuinfo": true, "diskstats": true, "loadavg": true, "meminfo": true, "slabinfo": true,
	"stat": true, "swaps": true, "uptime": true, "sys/kernel/ns_last_pid": true, "sys/crypto/fips_enabled": true,
}

// checkInProc refuses to mount on anything else in a procfs, for the same reason.
func checkInProc(dest string, t target) error {
	if !t.tree.proc {
		return nil
	}
	inside := strings.TrimPrefix(strings.TrimPrefix(t.path(), t.tree.at), "/")
	if inside != "" && !inProc[inside] {
		return fault.New(fault.Invalid, "cannot mount on %s: it is inside of /proc", dest)
	}
	return nil
}
