// Package spawn starts processes from a table of system calls that a few lines of
// assembly run in the fresh child.
package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Limits of a script. Load enforces them too.
const (
	MaxFiles = 250     // one SCM_RIGHTS message holds 253: these, the memfd, and two to spare
	MaxCalls = 1 << 14 // a container needs about 120
	MaxSize  = 16 << 20
)

// A Script is a list of system calls that ends in execve, under construction.
//
// The one who decides what the child does builds it, as pure data:
//
//	s := spawn.New()
//	s.Call("set", "host name", unix.SYS_SETHOSTNAME, s.Str("web"), spawn.Int(3))
//	s.Call("exec", "/bin/true", unix.SYS_EXECVE, s.Str("/bin/true"), s.Strings(argv), s.Strings(env))
//	s.SetClone(spawn.Clone{Flags: unix.CLONE_NEWUTS})
//	plan, err := s.Seal()
//
// The plan (a sealed memfd and the descriptors it names) travels to the one who is
// to be the child's parent, maybe another process, who runs it:
//
//	prog, err := spawn.Load(plan.Memfd, plan.Files, stdio)
//	child, err := prog.Start(10 * time.Second)
//
// A *StepError from Start names the failed call by number; Plan.Explain puts it
// into words. The calls run in order, each with up to six arguments; the first one
// that fails ends the child, except with an errno its Ignore lists.
//
// The child starts with all signals at their default action and none blocked. It
// has the parent's descriptors, so a script closes them (or marks them, by
// close_range) before its execve. A script that ends without execve ends its child
// with exit code 0.
//
// A Script's methods record the first mistake; Seal reports it.
type Script struct {
	calls  []*Call
	data   []byte
	relocs []reloc // within data: offset, kind
	strs   map[string]Arg
	files  []*os.File
	begin  int // index in files of what Begin writes to; -1: there is none
	bound  bool
	clone  Clone
	err    error
}

// An Arg is an argument of a call, or a word of an array in the script's memory.
type Arg struct {
	kind argKind
	v    uint64
}

type argKind uint8

const (
	number  argKind = iota
	pointer         // v: offset in data
	file            // v: index in files
	stdio           // v: 0, 1, 2
	result          // v: index of an earlier call
)

type reloc struct {
	off  uint32
	kind argKind
}

// A Call is one entry of a script's table.
type Call struct {
	s            *Script
	index        int
	step, object string
	nr           uintptr
	args         [6]Arg
	ignore       uint64
	skip         int
	flags        uint64
}

// Clone says how the child is born.
type Clone struct {
	// Flags are CLONE_NEW* for the child: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWPID,
	// NEWNET. (A child that shares memory cannot have a new time namespace, and a new
	// user namespace would need a parent that writes its maps: use UserNS.)
	Flags uint64
	// Cgroup is a directory of the unified hierarchy, into which the child is born.
	Cgroup *os.File
	// PIDOf is a pidfd of a process, or an open PID namespace, in which the child is
	// born. With UserNS too, the PID namespace must belong to that user namespace.
	PIDOf *os.File
	// UserNS is a user namespace that shall own the child's new namespaces; the
	// child is its root. An outer child joins it and then makes the real one, so the
	// script's calls divide: the first Before of them run in the outer child, with
	// the caller's privileges; they must not open descriptors, which would be the
	// parent's. nil: the child stays in the caller's user namespace, and Before is 0.
	UserNS *os.File
	Before int
	// Exposed says that somebody who may ptrace the child can see it before its
	// exec. Such a child is started by a Helper, with no memory of anybody's, and
	// late: see Birth.
	Exposed bool
}

// New returns an empty script.
func New() *Script { return &Script{strs: map[string]Arg{}, begin: -1} }

// Len is the number of calls so far.
func (s *Script) Len() int { return len(s.calls) }

// SetClone says how the child is born.
func (s *Script) SetClone(c Clone) { s.clone = c }

// Int is a number.
func Int(v int) Arg { return Arg{number, uint64(v)} }

// Uint is a number.
func Uint(v uint64) Arg { return Arg{number, v} }

// Str is the address of v and a NUL in the script's memory.
func (s *Script) Str(v string) Arg {
	a, ok := s.strs[v]
	if !ok {
		a = s.here()
		s.data = append(append(s.data, v...), 0)
		s.strs[v] = a
	}
	return a
}

// Bytes is the address of a copy of b, aligned to 8.
func (s *Script) Bytes(b []byte) Arg {
	s.align()
	a := s.here()
	s.data = append(s.data, b...)
	return a
}

// Strings is the address of an array of pointers to v's strings that ends with a
// null pointer, as argv and envp are.
func (s *Script) Strings(v []string) Arg {
	words := make([]Arg, 0, len(v)+1)
	for _, e := range v {
		words = append(words, s.Str(e))
	}
	return s.Words(append(words, Uint(0))...)
}

// Words is the address of an array of 64-bit words. A word may be a number, an
// address or a descriptor, but not a Result.
func (s *Script) Words(v ...Arg) Arg {
	s.align()
	a := s.here()
	for _, w := range v {
		switch w.kind {
		case number:
		case result:
			s.fail(errors.New("a result cannot be a word in memory"))
		default:
			s.relocs = append(s.relocs, reloc{uint32(len(s.data)), w.kind})
		}
		s.data = binary.LittleEndian.AppendUint64(s.data, w.v)
	}
	return a
}

// File is the number that f has in the child. The plan borrows f: it must stay open
// until the plan has been sent or started.
func (s *Script) File(f *os.File) Arg {
	if f == nil {
		s.fail(errors.New("no file given"))
	}
	for i, g := range s.files {
		if g == f && f != nil {
			return Arg{file, uint64(i)}
		}
	}
	s.files = append(s.files, f)
	return Arg{file, uint64(len(s.files) - 1)}
}

// Stdio is the number of descriptor i (0, 1 or 2) among those given to Load.
func (s *Script) Stdio(i int) Arg {
	if i < 0 || i > 2 {
		s.fail(fmt.Errorf("no standard descriptor %d", i))
	}
	return Arg{stdio, uint64(i)}
}

// Call appends a system call. step and object tell what it is for, as in "mount"
// "/proc": they are the words of the error when it fails.
func (s *Script) Call(step, object string, nr uintptr, args ...Arg) *Call {
	c := &Call{s: s, index: len(s.calls), step: step, object: object, nr: nr}
	if len(args) > len(c.args) {
		s.fail(fmt.Errorf("%s %s: %d arguments", step, object, len(args)))
		args = args[:len(c.args)]
	}
	copy(c.args[:], args)
	s.calls = append(s.calls, c)
	return c
}

// Result is what the call returned, for the arguments of later calls: a negative
// errno where an ignored failure happened, -1 where the call was skipped.
func (c *Call) Result() Arg { return Arg{result, uint64(c.index)} }

// Ignore lists errnos, all below 64, with which the call may fail.
func (c *Call) Ignore(errnos ...unix.Errno) *Call {
	for _, e := range errnos {
		if e <= 0 || e >= 64 {
			c.s.fail(fmt.Errorf("%s %s: cannot ignore errno %d", c.step, c.object, int(e)))
			continue
		}
		c.ignore |= 1 << e
	}
	return c
}

// SkipOnIgnored lets an ignored failure also skip the next n calls.
func (c *Call) SkipOnIgnored(n int) *Call {
	c.skip = n
	return c
}

// Birth divides the script of an exposed child: an intermediate process, which is not
// in the PID namespace of Clone.PIDOf and so out of the container's sight, makes the
// calls before it; the child itself is born here, as a copy of the intermediate one
// in its namespaces, with its credentials, filters and descriptors 0 to 2, and makes
// those after it. Before it the script gives up whatever the container must not
// have; after it, no call uses a descriptor of the plan.
func (s *Script) Birth() {
	s.Call("create", "process", unix.SYS_CLONE).flags = flagBirth
}

// Bind appends the call after which the child is killed when the thread dies that makes it,
// until Begin: it has copies of its parent's descriptors, and whoever takes the parent's
// place would have to wait for it. It is not for exposed children, whose parent is not the
// one that makes them.
func (s *Script) Bind() {
	s.bound = true
	s.dieWithParent(unix.SIGKILL)
}

func (s *Script) dieWithParent(signal unix.Signal) {
	s.Call("set", "signal of the parent's death", unix.SYS_PRCTL, Int(unix.PR_SET_PDEATHSIG), Int(int(signal)), Int(0), Int(0), Int(0))
}

// Begin appends the call by which the child tells, before it gives up its descriptors, that
// it will execute its program unless a later call fails. Who has the plan run by somebody
// else puts a socket in the place Plan.Begin of the files, and listens at its other end: once
// he has shut that down, SIGPIPE ends the child here. So he knows, should the other one
// die, whether the program was executed, and that it will not be later.
func (s *Script) Begin() {
	if s.begin >= 0 {
		s.fail(errors.New("the program begins twice"))
	}
	if s.bound {
		s.dieWithParent(0) // first: what has begun goes on
	}
	s.files = append(s.files, nil) // see Seal
	s.begin = len(s.files) - 1
	// Where nobody listens, it is a file that cannot be written.
	s.Call("tell", "that the program begins", unix.SYS_WRITE, Arg{file, uint64(s.begin)}, s.Str("b"), Int(1)).Ignore(unix.EPERM)
}

func (s *Script) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *Script) here() Arg { return Arg{pointer, uint64(len(s.data))} }

func (s *Script) align() {
	for len(s.data)%8 != 0 {
		s.data = append(s.data, 0)
	}
}
