// Package quota limits the bytes in a directory by the project quotas of its file system.
package quota

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Limit bounds what may be in the directory dir, which is empty, and in whatever will
// be made below it, to bytes. The directory gets a project of its own; what is made in
// it inherits that (ioctl_xfs_fssetxattr(2)). On ext4 processes with CAP_SYS_RESOURCE
// may exceed it; overlayfs never does. A file system without project quotas, or
// one that counts but does not enforce, is an Invalid error which says so.
func Limit(dir string, bytes int64) error {
	f, err := open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := enforced(f); err != nil {
		return err
	}
	id, err := freeProject(f)
	if err != nil {
		return err
	}
	if err := setLimit(f, id, bytes); err != nil {
		return err
	}
	return setProject(f, id)
}

// Clear takes the limit of dir away, for whoever removes the directory: the file
// system would remember it for ever. A directory without one is no failure.
func Clear(dir string) error {
	f, err := open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	a, err := attributes(f)
	if err != nil || a.project == 0 {
		return nil // without project quotas there is nothing to clear
	}
	return setLimit(f, a.project, 0)
}

// Supported says, by an error, why the file system of dir could not limit anything.
func Supported(dir string) error {
	f, err := open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return enforced(f)
}

func open(dir string) (*os.File, error) {
	return os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// Commands of quotactl_fd(2) in XFS's form, which ext4 takes as well (linux/dqblk_xfs.h).
const (
	cmdGetLimit = 'X'<<8 | 3 // Q_XGETQUOTA
	cmdSetLimit = 'X'<<8 | 4 // Q_XSETQLIM
	cmdState    = 'X'<<8 | 5 // Q_XGETQSTAT

	projects        = 2      // PRJQUOTA
	enforceProjects = 1 << 5 // FS_QUOTA_PDQ_ENFD
)

// block is the unit of limits, whatever the file system's own.
const block = 512

// diskQuota is struct fs_disk_quota.
type diskQuota struct {
	version   int8
	flags     int8
	fields    uint16
	id        uint32
	blockHard uint64
	blockSoft uint64
	inodeHard uint64
	inodeSoft uint64
	blocks    uint64
	inodes    uint64
	_         [56]byte // times, warnings and real-time blocks
}

func quotactl(f *os.File, cmd int, id uint32, arg unsafe.Pointer) error {
	_, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), uintptr(cmd<<8|projects), uintptr(id), uintptr(arg), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// enforced returns nil when the file system refuses what is above a project's limit.
func enforced(f *os.File) error {
	var state [80]byte // struct fs_quota_stat: version, flags, …
	err := quotactl(f, cmdState, 0, unsafe.Pointer(&state))
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ESRCH):
		return fault.New(fault.Invalid, "the file system of %s has no project quotas: it must be xfs or ext4, mounted with prjquota", f.Name())
	case err != nil:
		return fmt.Errorf("cannot ask for the quotas of %s: quotactl_fd: %w", f.Name(), err)
	case binary.NativeEndian.Uint16(state[2:])&enforceProjects == 0:
		return fault.New(fault.Invalid, "the file system of %s does not enforce project quotas: it must be mounted with prjquota", f.Name())
	}
	return nil
}

// freeProject finds a project that nothing belongs to. Its number is random: several
// engines may have directories in one file system.
func freeProject(f *os.File) (uint32, error) {
	for range 100 {
		id := 1<<20 + rand.Uint32N(1<<30)
		var q diskQuota
		err := quotactl(f, cmdGetLimit, id, unsafe.Pointer(&q))
		switch {
		case errors.Is(err, unix.ENOENT), err == nil && q.inodes == 0 && q.blocks == 0 && q.blockHard == 0:
			return id, nil
		case err != nil:
			return 0, fmt.Errorf("cannot find a free project on %s: quotactl_fd: %w", f.Name(), err)
		}
	}
	return 0, fmt.Errorf("cannot find a free project on %s", f.Name())
}

func setLimit(f *os.File, id uint32, bytes int64) error {
	const hardAndSoft = 1<<3 | 1<<2 // FS_DQ_BHARD, FS_DQ_BSOFT
	blocks := (uint64(bytes) + block - 1) / block
	q := diskQuota{version: 1, flags: 2, fields: hardAndSoft, id: id, blockHard: blocks, blockSoft: blocks}
	if err := quotactl(f, cmdSetLimit, id, unsafe.Pointer(&q)); err != nil {
		return fmt.Errorf("cannot limit %s to %d bytes: quotactl_fd: %w", f.Name(), bytes, err)
	}
	return nil
}

// fileAttributes is struct fsxattr.
type fileAttributes struct {
	flags, extent, extents, project, cow uint32
	_                                    [8]byte
}

const (
	getAttributes = 0x801c581f // FS_IOC_FSGETXATTR
	setAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
	inherit       = 0x200      // FS_XFLAG_PROJINHERIT
)

func attributes(f *os.File) (a fileAttributes, err error) {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), getAttributes, uintptr(unsafe.Pointer(&a))); e != 0 {
		return a, fmt.Errorf("cannot read the project of %s: ioctl: %w", f.Name(), e)
	}
	return a, nil
}

// setProject puts the directory and what will be made in it into project id.
func setProject(f *os.File, id uint32) error {
	a, err := attributes(f)
	if err != nil {
		return err
	}
	a.project, a.flags = id, a.flags|inherit
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), setAttributes, uintptr(unsafe.Pointer(&a))); e != 0 {
		return fmt.Errorf("cannot put %s into a project: ioctl: %w", f.Name(), e)
	}
	return nil
}
