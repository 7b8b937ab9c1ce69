// Package pidfd holds processes by descriptors, which, unlike pids, never come to
// mean another process.
package pidfd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open returns a descriptor of the process with this pid, which must be its thread
// group's leader. The descriptor is non-blocking, as Wait needs it.
func Open(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot open process %d: pidfd_open: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pidfd:%d", pid)), nil
}

// control calls fn with f's descriptor, which stays open meanwhile.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if e := c.Control(func(fd uintptr) { err = fn(int(fd)) }); e != nil {
		return e
	}
	return err
}

// Signal sends sig. The error is unix.ESRCH if the process has ended.
func Signal(f *os.File, sig unix.Signal) error {
	err := control(f, func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
	if err != nil {
		return fmt.Errorf("cannot send %s: pidfd_send_signal: %w", unix.SignalName(sig), err)
	}
	return nil
}

// pidfs is the f_type of the file system of pidfds, linux/magic.h. Before it, Linux
// 6.9, all pidfds had the same inode.
const pidfs = 0x50494446

// Inode returns a number that no other process has had or will have until the next
// boot. The error is errors.ErrUnsupported before Linux 6.9.
func Inode(f *os.File) (uint64, error) {
	var st unix.Stat_t
	err := control(f, func(fd int) error {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(fd, &fs); err != nil {
			return err
		}
		if fs.Type != pidfs {
			return errors.ErrUnsupported
		}
		return unix.Fstat(fd, &st)
	})
	if err != nil {
		return 0, fmt.Errorf("cannot identify process: %w", err)
	}
	return st.Ino, nil
}

// Exit returns how a process that has ended and been reaped, by whomever, ended. ok is
// false if that has not happened yet, or the kernel cannot tell (before Linux 6.15).
func Exit(f *os.File) (status unix.WaitStatus, ok bool, err error) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err = control(f, func(fd int) error { return unix.IoctlPidfdInfo(fd, &info) })
	switch {
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ESRCH):
		return 0, false, nil // no such request; or an old kernel, for a process that has ended
	case err != nil:
		return 0, false, fmt.Errorf("cannot get exit status: ioctl PIDFD_GET_INFO: %w", err)
	}
	return unix.WaitStatus(uint32(info.Exit_code)), info.Mask&unix.PIDFD_INFO_EXIT != 0, nil
}

// Wait returns when the process has ended, though maybe not been reaped, or with
// ctx's error. It occupies no thread. One Wait at a time can be on a descriptor.
func Wait(ctx context.Context, f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot wait for process: %w", err)
	}
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("cannot wait for process by a blocking descriptor: %w", err)
	}
	defer context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })()
	var perr error
	err = c.Read(func(fd uintptr) bool {
		var n int
		n, perr = ready(int(fd))
		return n > 0 || perr != nil
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		err = perr
	}
	if err != nil {
		return fmt.Errorf("cannot wait for process: %w", err)
	}
	return nil
}

// Dead tells whether the process has ended, though maybe not been reaped: a signal
// reaches even a zombie.
func Dead(f *os.File) bool {
	n := 0
	err := control(f, func(fd int) (err error) {
		n, err = ready(fd)
		return err
	})
	return err == nil && n > 0
}

// ready polls without waiting.
func ready(fd int) (int, error) {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Reap takes away a child of this process that has ended. It does not wait: the error
// is unix.EAGAIN if the child still runs, unix.ECHILD if it is not one, or was reaped.
func Reap(f *os.File) (unix.WaitStatus, error) {
	var status unix.WaitStatus
	err := control(f, func(fd int) error {
		var si unix.Siginfo
		// __WALL: a child made with CLONE_PARENT may have another exit signal.
		err := unix.Waitid(unix.P_PIDFD, fd, &si, unix.WEXITED|unix.WNOHANG|unix.WALL, nil)
		for err == unix.EINTR {
			err = unix.Waitid(unix.P_PIDFD, fd, &si, unix.WEXITED|unix.WNOHANG|unix.WALL, nil)
		}
		if err == nil && si.Signo == 0 {
			err = unix.EAGAIN
		}
		status = waitStatus(&si)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot reap process: waitid: %w", err)
	}
	return status, nil
}

// waitStatus puts what waitid says the way wait4 does. si_status follows si_pid and
// si_uid in the union of siginfo_t, sigaction(2).
func waitStatus(si *unix.Siginfo) unix.WaitStatus {
	const cldExited, cldDumped = 1, 3
	status := *(*uint32)(unsafe.Add(unsafe.Pointer(si), 24))
	switch si.Code {
	case cldExited:
		status <<= 8
	case cldDumped:
		status |= 0x80
	}
	return unix.WaitStatus(status)
}
