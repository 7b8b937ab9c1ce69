package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Program is a plan loaded by the parent of the child it makes. It runs once.
type Program struct {
	// OnTimeout, if set, is called when the deadline of Start has passed and the
	// child has been sent SIGKILL: a task in a frozen cgroup v1 dies only when its
	// group is thawed. Start does not return before it.
	OnTimeout func()

	head  header
	memfd *os.File
	files []*os.File // the plan's, then the three standard ones
	fds   []int      // of the plan's files
	maps  [][]byte
	ctl   []byte // the control page
	frame []byte
	plan  []byte
	// An exposed program's children have copies of ctl and plan; they share the
	// frame, and the last of them has not even that, but only the report.
	report []byte
	// lost gets the outcome of a program whose child does not die of SIGKILL.
	lost chan outcome
}

// A Child is a started process. Its exit signal is SIGCHLD; whoever waits must do so
// by its pidfd (package pidfd), never for just any child: between its death and the
// end of Start, a child must not be reaped by anybody else.
type Child struct {
	Pid   int
	Pidfd *os.File // non-blocking, so that package pidfd waits for it without a thread
}

// The control page: what the clone of the first child reads and writes. The frame:
// what the table's child reads and writes (table.h has the first part of it).
const (
	ctlArgs  = 0   // struct clone_args
	ctlMasks = 96  // signal mask with all set; the thread's own, saved
	ctlPidfd = 112 // 32 bits
	ctlTid   = 120 // 32 bits; set after the pidfd is valid
	ctlSize  = 4096

	frameFailed     = 0 // index of the failed call, -1
	frameErrno      = 8
	frameAt         = 16 // index of the call that runs
	frameCount      = 24
	frameCalls      = 32 // address
	frameZero       = 40 // an empty sigaction and signal mask, 32 bytes
	frameReset      = 72 // signals to be reset, bit 0 is signal 1
	frameInner      = 80 // struct clone_args of the inner child
	frameInnerPidfd = 168
	frameInnerTid   = 176 // in the PID namespace of the outer child
	frameBornTid    = 180 // of an exposed child
	frameMade       = 184 // + 8 * flagFork or flagBirth: what that call returned
	frameSize       = 256
)

// Words of struct clone_args, clone(2).
const (
	argFlags      = 0
	argPidfd      = 8
	argParentTid  = 24
	argExitSignal = 32
	argCgroup     = 80
	argSize       = 88
)

// cloneTable makes system call nr (clone3 with arguments a0 and a1), whose child
// runs the table of frame. It returns what the call returned in the parent.
//
//go:noescape
func cloneTable(nr, a0, a1, frame, masks uintptr) int

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// cloneTableBlocking is cloneTable outside of Go's scheduler: the thread is suspended
// until the child has exec'ed, and no garbage collection may wait for that.
//
//go:nosplit
//go:norace
func cloneTableBlocking(nr, a0, a1, frame, masks uintptr) int {
	entersyscall()
	r := cloneTable(nr, a0, a1, frame, masks)
	exitsyscall()
	return r
}

// Exposed tells whether the program must be started by a Helper.
func (p *Program) Exposed() bool { return p.head.exposed }

// Close frees a program that is not started.
func (p *Program) Close() {
	for _, m := range p.maps {
		unix.Munmap(m)
	}
	p.maps, p.ctl, p.frame, p.plan, p.report = nil, nil, nil, nil, nil
}

// Start runs the program and returns when its child has exec'ed, or with a
// *StepError. A child that has not exec'ed after deadline is killed, and left to the
// kernel if it does not die of that, as in a file system that does not answer; 0 is
// no deadline. Start frees the program.
func (p *Program) Start(deadline time.Duration) (Child, error) {
	if p.head.exposed {
		p.Close()
		return Child{}, errors.New("cannot start an exposed plan in this process: it needs a spawn.Helper")
	}
	type result struct {
		c   Child
		err error
	}
	done := make(chan result, 1)
	p.lost = make(chan outcome, 1)
	go func() {
		defer p.Close()
		c, err := p.launch(deadline).settle()
		done <- result{c, err}
	}()
	select {
	case r := <-done:
		return r.c, r.err
	case o := <-p.lost:
		return Child{}, o.err
	}
}

// An outcome is what has become of a program, before its dead are reaped.
type outcome struct {
	pid, pidfd int        // the child; 0 and -1 if there is none
	gone       []int      // other children, which have ended or are dying
	err        *StepError // if set, pid has ended or is dying
}

// settle reaps what has to be reaped, and hands out the child.
func (o outcome) settle() (Child, error) {
	for _, pid := range o.gone {
		reap(pid)
	}
	if o.err == nil {
		unix.FcntlInt(uintptr(o.pidfd), unix.F_SETFL, unix.O_NONBLOCK)
		return Child{Pid: o.pid, Pidfd: os.NewFile(uintptr(o.pidfd), "pidfd")}, nil
	}
	if o.pidfd >= 0 {
		unix.Close(o.pidfd)
	}
	switch {
	case o.pid == 0:
	case o.err.Killed:
		reapSoon(o.pid)
	default:
		reap(o.pid)
	}
	return Child{}, o.err
}

// reap waits for a child that is dying. __WALL: it may have another exit signal.
func reap(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WALL, nil) == unix.EINTR {
	}
}

// launch runs the program, on a thread that is in the right PID namespace for it. It
// is the last that its goroutine does: where the thread cannot return to its own PID
// namespace, the thread ends with it.
func (p *Program) launch(deadline time.Duration) outcome {
	if p.head.pidOf < 0 {
		return p.run(deadline, unix.CLONE_VM, uint64(unix.SIGCHLD))
	}
	runtime.LockOSThread()
	o, back := p.runInPIDNamespace(deadline)
	if back {
		runtime.UnlockOSThread()
	}
	return o
}

// runInPIDNamespace runs the program with its child born in the PID namespace of
// Clone.PIDOf. back tells whether the thread's later children are born in its own.
func (p *Program) runInPIDNamespace(deadline time.Duration) (o outcome, back bool) {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err == nil {
		defer unix.Close(self)
		err = unix.Setns(p.fds[p.head.pidOf], unix.CLONE_NEWPID)
	}
	if err != nil {
		return outcome{pidfd: -1, err: &StepError{Index: StepJoinPID, Errno: errno(err)}}, true
	}
	o = p.run(deadline, unix.CLONE_VM, uint64(unix.SIGCHLD))
	return o, unix.Setns(self, unix.CLONE_NEWPID) == nil
}

func errno(err error) unix.Errno {
	var e unix.Errno
	errors.As(err, &e)
	return e
}

// run makes the child and waits until it has exec'ed or ended.
func (p *Program) run(deadline time.Duration, flags, exitSignal uint64) outcome {
	p.arm(flags, exitSignal)
	w := p.watch(deadline)
	r := cloneTableBlocking(unix.SYS_CLONE3, address(p.ctl), argSize, address(p.frame), address(p.ctl[ctlMasks:]))
	killed := w.stop()
	runtime.KeepAlive(p)
	if r < 0 {
		return outcome{pidfd: -1, err: &StepError{Index: StepClone, Errno: unix.Errno(-r)}}
	}
	if p.head.exposed {
		return p.born(r, killed)
	}
	o := outcome{pid: r, pidfd: int(int32(p.ctlWord(ctlPidfd).Load()))}
	if p.head.fork >= 0 {
		o = p.inner(r)
	}
	o.err = p.failure(killed)
	if p.head.fork >= 0 && o.err == nil && (o.pid == 0 || !p.made(flagFork)) {
		o.err = &StepError{Index: p.at(), Errno: unix.EINTR} // the outer child was killed
	}
	if o.err != nil && o.pidfd >= 0 {
		// The inner child outlives an outer one that was killed.
		unix.PidfdSendSignal(o.pidfd, unix.SIGKILL, nil, 0)
	}
	return o
}

// inner is the outcome of a program with an outer and an inner child.
func (p *Program) inner(outer int) outcome {
	o := outcome{pidfd: -1, gone: []int{outer}}
	if tid := p.frameWord(frameInnerTid).Load(); tid != 0 {
		o.pidfd = int(p.frameWord(frameInnerPidfd).Load())
		o.pid = int(tid)
		if p.head.pidOf >= 0 {
			o.pid = pidOf(o.pidfd)
		}
	}
	return o
}

// failure is what the frame says of a child that has not exec'ed; nil if it has.
func (p *Program) failure(killed bool) *StepError {
	failed := int(int64(le.Uint64(p.frame[frameFailed:])))
	switch {
	case killed:
		return &StepError{Index: p.at(), Killed: true}
	case failed >= 0 && failed < p.head.calls:
		return &StepError{Index: failed, Errno: unix.Errno(le.Uint64(p.frame[frameErrno:]))}
	}
	return nil
}

// made tells whether a process saw the one that it made by the marked call exec or
// end: that call has returned.
func (p *Program) made(flag int) bool { return int64(le.Uint64(p.frame[frameMade+8*flag:])) > 0 }

// at is the call the child is at.
func (p *Program) at() int {
	return min(int(le.Uint64(p.frame[frameAt:])&(MaxCalls-1)), max(p.head.calls-1, 0))
}

// call is the memory of a call.
func (p *Program) call(i int) []byte { return p.plan[headerSize+callSize*i:][:callSize] }

// arm writes the clone_args and the frame.
func (p *Program) arm(flags, exitSignal uint64) {
	const always = unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID | unix.CLONE_CLEAR_SIGHAND
	flags |= always
	first := flags | p.head.flags
	if p.head.fork >= 0 {
		// The outer child shares the table of descriptors, so that the inner one's
		// pidfd is there for its parent.
		first = flags&^unix.CLONE_PIDFD | unix.CLONE_FILES
		in := p.frame[frameInner:]
		le.PutUint64(in[argFlags:], always|unix.CLONE_VM|unix.CLONE_PARENT|p.head.flags)
		le.PutUint64(in[argPidfd:], uint64(address(p.frame[frameInnerPidfd:])))
		le.PutUint64(in[argParentTid:], uint64(address(p.frame[frameInnerTid:])))
		call := p.call(p.head.fork)
		le.PutUint64(call[callArgs:], uint64(address(in)))
		le.PutUint64(call[callArgs+8:], argSize)
	}
	args := p.ctl[ctlArgs:]
	le.PutUint64(args[argPidfd:], uint64(address(p.ctl[ctlPidfd:])))
	le.PutUint64(args[argParentTid:], uint64(address(p.ctl[ctlTid:])))
	le.PutUint64(args[argExitSignal:], exitSignal)
	if p.head.cgroup >= 0 {
		first |= unix.CLONE_INTO_CGROUP
		le.PutUint64(args[argCgroup:], uint64(p.fds[p.head.cgroup]))
	}
	le.PutUint64(args[argFlags:], first)
	le.PutUint64(p.ctl[ctlMasks:], ^uint64(0))
	le.PutUint64(p.frame[frameFailed:], ^uint64(0))
	le.PutUint64(p.frame[frameCount:], uint64(p.head.calls))
	le.PutUint64(p.frame[frameCalls:], uint64(address(p.plan[headerSize:])))
	le.PutUint64(p.frame[frameReset:], maybeIgnored())
	if p.head.exposed {
		p.armBirth()
	}
}

// maybeIgnored is the set of signals that this process may ignore. The Go runtime
// knows of all but those it never touches. (Asking the kernel takes 14 µs.)
func maybeIgnored() uint64 {
	set := uint64(1<<(unix.SIGCONT-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1))
	for s := range 64 {
		if signal.Ignored(syscall.Signal(s + 1)) {
			set |= 1 << s
		}
	}
	return set
}

// ctlWord and frameWord are words that the kernel writes while others read them.
func (p *Program) ctlWord(off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&p.ctl[off]))
}

func (p *Program) frameWord(off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&p.frame[off]))
}

// pidOf asks the kernel for the pid, as this process sees it, behind a pidfd.
func pidOf(pidfd int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/thread-self/fdinfo/%d", pidfd))
	if err != nil {
		return 0
	}
	return parsePid(b)
}
