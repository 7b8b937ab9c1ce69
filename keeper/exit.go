package keeper

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/linux/pidfd"
)

// unknownCode is the exit code of a process whose status nobody could learn.
const unknownCode = 255

// wait sleeps until the process is dead, and then sees it off.
func (p *process) wait() {
	raw, err := p.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool { return readable(int(fd)) })
	}
	if err != nil {
		p.complain("cannot wait for its end: %v", err)
		return
	}
	if !p.child {
		<-p.s.settled // an engine may be about to hand over its terminal
	}
	p.end(p.status())
}

// status returns how the process, which is dead, ended. It remains a zombie, so
// that the status is not lost before it is on record.
func (p *process) status() *Exit {
	e := &Exit{ID: p.ID, Generation: p.Generation, At: time.Now(), Code: unknownCode}
	if !p.child {
		p.adoptedStatus(e)
		return e
	}
	var si unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, &si, unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			e.Error = fmt.Sprintf("cannot learn the exit code: waitid: %v", err)
			return e
		}
		break
	}
	e.setStatus(waitStatus(&si))
	return e
}

// adoptedStatus finds out how a process ended that is somebody else's child: from its
// zombie, or from the kernel once that is reaped.
func (p *process) adoptedStatus(e *Exit) {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		ws, ok, err := pidfd.Exit(p.pidfd)
		if err == nil && !ok {
			ws, ok = p.zombie()
		}
		if ok {
			e.setStatus(ws)
			return
		}
		if err != nil || time.Now().After(deadline) {
			e.Error = "the exit code is lost: the keeper that was its parent died before it, and this kernel does not tell (that needs Linux 6.15)"
			return
		}
	}
}

// zombie reads the status of a process that is dead but not reaped: field 52 of
// proc_pid_stat(5).
func (p *process) zombie() (ws unix.WaitStatus, ok bool) {
	fields, err := procStat(p.Pid)
	if err != nil || len(fields) < 50 || fields[0] != "Z" {
		return 0, false
	}
	n, err := strconv.Atoi(fields[49])
	// Only if it still has its pid was it this process that we read about.
	return unix.WaitStatus(n), err == nil && pidfd.Signal(p.pidfd, 0) == nil
}

func (e *Exit) setStatus(ws unix.WaitStatus) {
	e.Status, e.Error = ws, ""
	if e.Code = ws.ExitStatus(); ws.Signaled() {
		e.Code = 128 + int(ws.Signal())
	}
}

// waitStatus makes the status of wait4(2) out of that of waitid(2). Its fields on
// 64-bit: signo, errno, code, padding, pid, uid, status, 32 bits each.
func waitStatus(si *unix.Siginfo) unix.WaitStatus {
	b := (*[32]byte)(unsafe.Pointer(si))
	code := binary.NativeEndian.Uint32(b[8:])
	status := binary.NativeEndian.Uint32(b[24:])
	const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED
	switch code {
	case exited:
		return unix.WaitStatus(status & 0xff << 8)
	case dumped:
		return unix.WaitStatus(status&0x7f | 0x80)
	}
	return unix.WaitStatus(status & 0x7f)
}

// end delivers what is left, puts the exit on record, and then tells the engine.
func (p *process) end(e *Exit) {
	p.s.acting.RLock()
	defer p.s.acting.RUnlock()
	p.finish()
	if err := failpoint.Hit(failpoint.KeeperExitReaped); err != nil {
		p.complain("%v", err)
	}
	if err := saveExit(p.s.root, e); err != nil {
		p.complain("exit is not on record: %v", err)
	}
	if p.child {
		unix.Wait4(p.Pid, nil, syscall.WNOHANG, nil)
	}
	if p.pidfd != nil {
		p.pidfd.Close()
	}
	recorded := failpoint.Hit(failpoint.KeeperExitRecorded)
	p.removeFiles() // before anybody knows: the next start makes files of the same names
	p.mu.Lock()
	p.exit = e
	p.mu.Unlock()
	p.s.networks.release(p.ID, p.Generation) // before the engine knows, which counts on that
	p.s.ended(p, e, recorded)
	close(p.told)
}

// removeFiles removes what a process has in the exec root, except its exit record.
func (p *process) removeFiles() {
	for _, n := range []string{"1", "2", "journal", "clients", "shipped", "log", "log.1"} {
		os.Remove(filepath.Join(p.dir(), n))
	}
	os.Remove(p.dir())
	os.Remove(statePath(p.s.root, p.ID))
}
