package spawn

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Plan is a finished script: what the parent-to-be needs to run it, and, on the
// side of the one who made it, what its calls are for.
type Plan struct {
	Memfd *os.File   // sealed; closed by Close
	Files []*os.File // borrowed from the script's caller, at most MaxFiles
	Begin int        // index in Files of the place for a socket, see Script.Begin; -1: there is none
	steps []step
}

type step struct {
	verb, object string
	nr           uintptr
}

// Close closes the memfd.
func (p *Plan) Close() error { return p.Memfd.Close() }

// Indexes of a StepError for what comes before a script's first call.
const (
	StepClone   = -1 // making the child
	StepJoinPID = -2 // joining the PID namespace of Clone.PIDOf
)

// A StepError says which call of a script ended it.
type StepError struct {
	Index  int // of the call, or StepClone or StepJoinPID
	Errno  unix.Errno
	Killed bool // the child was at call Index at its deadline, and was killed
}

func (e *StepError) Error() string {
	if e.Killed {
		return fmt.Sprintf("call %d of the spawn script was not done by its deadline", e.Index)
	}
	return fmt.Sprintf("call %d of the spawn script: %v", e.Index, e.Errno)
}

// Unwrap returns the errno, or os.ErrDeadlineExceeded.
func (e *StepError) Unwrap() error {
	if e.Killed {
		return os.ErrDeadlineExceeded
	}
	return e.Errno
}

// Syscall is the number of the system call that failed; 0 if it is not one of the
// script's.
func (p *Plan) Syscall(e *StepError) uintptr {
	if e.Index < 0 || e.Index >= len(p.steps) {
		return 0
	}
	return p.steps[e.Index].nr
}

// Explain puts e into the words of the script: "cannot <step> <object>: <system
// call>: <what is wrong>".
func (p *Plan) Explain(e *StepError) error {
	var s step
	switch {
	case e.Index == StepClone:
		s = step{"create", "process", unix.SYS_CLONE3}
	case e.Index == StepJoinPID:
		s = step{"join", "PID namespace", unix.SYS_SETNS}
	case e.Index >= 0 && e.Index < len(p.steps):
		s = p.steps[e.Index]
	default:
		return fmt.Errorf("cannot run a spawn script: %w", e)
	}
	what := s.verb
	if s.object != "" {
		what += " " + s.object
	}
	if e.Killed {
		return fmt.Errorf("cannot %s: %s: killed, not done in time: %w", what, callName(s.nr), e.Unwrap())
	}
	return fmt.Errorf("cannot %s: %s: %w", what, callName(s.nr), e.Errno)
}
