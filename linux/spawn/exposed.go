package spawn

import (
	"time"

	"golang.org/x/sys/unix"
)

// An exposed program, run by a helper process:
//
//	keeper
//	 ├─ helper          knows one plan at a time
//	 ├─ intermediate    a fork of the helper; makes the calls before the birth, out of
//	 │                  the container's sight (with Clone.UserNS: an outer and an inner one)
//	 └─ child           a fork of the intermediate, in the container's PID namespace
//
// All are children of the keeper, by CLONE_PARENT. Who traces the child finds nothing
// but its plan, a copy of the helper's memory, which never held anything else, and
// one page that is shared: the report of a failed call after the birth. What it says
// is believed as little as it can do harm.

// armBirth writes the arguments of the calls that only exposed plans have. The clone
// is the old one: the default seccomp profile of docker knows it, and not clone3.
func (p *Program) armBirth() {
	hide := p.call(p.head.hide)[callArgs:]
	for i, v := range []uint64{uint64(address(p.frame)), uint64(len(p.frame)), unix.MADV_DONTFORK} {
		le.PutUint64(hide[8*i:], v)
	}
	birth := p.call(p.head.birth)[callArgs:]
	le.PutUint64(birth, unix.CLONE_PARENT|unix.CLONE_VFORK|unix.CLONE_PARENT_SETTID)
	le.PutUint64(birth[8*2:], uint64(address(p.frame[frameBornTid:])))
	le.PutUint64(birth[8*5:], uint64(address(p.report))) // the child's frame from then on
	le.PutUint64(p.report[frameFailed:], ^uint64(0))
	le.PutUint64(p.report[frameCount:], uint64(p.head.calls))
}

// born is the outcome of an exposed program. The first child has ended.
func (p *Program) born(first int, killed bool) outcome {
	o := outcome{pidfd: -1, gone: []int{first}, err: p.failure(killed)}
	if inner := int(p.frameWord(frameInnerTid).Load()); inner != 0 {
		p.endInner()
		o.gone = append(o.gone, inner)
	}
	o.pid = int(p.frameWord(frameBornTid).Load())
	switch {
	case killed:
		o.err = p.stuck()
	case o.err != nil: // before the birth
	case !p.made(flagBirth):
		o.err = &StepError{Index: p.at(), Errno: unix.EINTR} // somebody else killed it
	default:
		o.err = p.reported()
	}
	if o.err != nil && o.pid != 0 {
		// Nobody else knows the child yet, so it has not been reaped.
		unix.Kill(o.pid, unix.SIGKILL)
	}
	return o
}

// endInner makes sure that the inner child makes no other one. Unless its outer child
// was killed, it has ended already.
func (p *Program) endInner() {
	pidfd := int(p.frameWord(frameInnerPidfd).Load())
	if !p.made(flagFork) {
		unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(grace/time.Millisecond))
		if err != unix.EINTR {
			break
		}
	}
	unix.Close(pidfd)
}

// reported is what the child says of its calls, made up or not.
func (p *Program) reported() *StepError {
	failed, errno := le.Uint64(p.report[frameFailed:]), le.Uint64(p.report[frameErrno:])
	switch {
	case failed == ^uint64(0):
		return nil
	case failed <= uint64(p.head.birth) || failed >= uint64(p.head.calls) || errno == 0 || errno > maxErrno:
		return &StepError{Index: p.head.calls - 1, Errno: unix.EIO}
	}
	return &StepError{Index: int(failed), Errno: unix.Errno(errno)}
}

const maxErrno = 4095

// stuck says which call the intermediate process, or the child, was at.
func (p *Program) stuck() *StepError {
	at := p.at()
	if at == p.head.birth {
		at = max(at, min(int(le.Uint64(p.report[frameAt:])&(MaxCalls-1)), p.head.calls-1))
	}
	return &StepError{Index: at, Killed: true}
}

// abandoned is the outcome of a program whose first child does not die.
func (p *Program) abandoned() outcome {
	o := outcome{pidfd: -1, err: &StepError{Index: p.at(), Killed: true}}
	for _, pid := range []int{int(p.ctlWord(ctlTid).Load()), int(p.frameWord(frameInnerTid).Load())} {
		if pid != 0 {
			o.gone = append(o.gone, pid)
		}
	}
	return o
}
