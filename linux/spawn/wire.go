package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A plan's memfd, version 1. All numbers are little-endian; offsets count from the
// start of the memfd.
//
//	 0          4          8          12         16
//	+----------+----------+----------+----------+
//	| "hoyspawn"          | version  | options  |   options: bit 0 exposed
//	+----------+----------+----------+----------+
//	| clone flags         | cgroup   | PIDOf    |   file index + 1, 0: none
//	+----------+----------+----------+----------+
//	| files    | calls    | relocs   | data off |
//	+----------+----------+----------+----------+
//	| total size          | 0                   |
//	+---------------------+---------------------+
//	| calls: 96 bytes each                      |
//	|   number | a0 … a5 | results | ignore | skip | flags | returned
//	+-------------------------------------------+
//	| relocs: 8 bytes each, ascending           |
//	|   offset (4) | kind (4)                   |
//	+-------------------------------------------+
//	| data: strings, arrays, structs            |
//	+-------------------------------------------+
//
// A call is twelve 64-bit words. Bit i of results says that a(i) is the index of
// an earlier call, whose return value is the argument. Bit e of ignore says that
// errno e is no failure; skip is how many calls are left out after an ignored one.
// Flags mark calls whose arguments are Load's: bit 0 the clone3 with which an outer
// child makes the inner one, bit 1 the clone of an exposed child, bit 2 the madvise
// that hides memory from it. The returned word is -1 until the call has been made.
//
// A relocation names a word that Load changes: an argument, or an aligned word of
// data. It holds an offset within data that becomes an address, an index into the
// plan's files, or 0 to 2, that become a descriptor's number.
const (
	wireMagic   = "hoyspawn"
	wireVersion = 1

	headerSize = 64
	callSize   = 96
	relocSize  = 8

	optExposed = 1 << 0

	callArgs    = 8
	callResults = 56
	callIgnore  = 64
	callSkip    = 72
	callFlags   = 80
	callRet     = 88

	flagFork  = 1 << 0
	flagBirth = 1 << 1
	flagHide  = 1 << 2
)

// namespaces are the clone flags a plan may have.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS |
	unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET

var le = binary.LittleEndian

// Seal finishes the script: it lays it out in a sealed memfd.
func (s *Script) Seal() (*Plan, error) {
	b, steps, err := s.encode()
	if err != nil {
		return nil, fmt.Errorf("cannot make a spawn plan: %w", err)
	}
	f, err := sealed(b)
	if err != nil {
		return nil, fmt.Errorf("cannot make a spawn plan: %w", err)
	}
	files := slices.Clone(s.files)
	if s.begin >= 0 {
		files[s.begin] = f // sealed: what the child tells is ignored
	}
	return &Plan{Memfd: f, Files: files, Begin: s.begin, steps: steps}, nil
}

// sealed returns a memfd that holds b and can no longer change.
func sealed(b []byte) (*os.File, error) {
	// Executable memfds are refused where vm.memfd_noexec is 2; kernels before 6.3
	// do not know the flag.
	fd, err := unix.MemfdCreate("spawn", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("spawn", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memfd:spawn")
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, fmt.Errorf("fcntl F_ADD_SEALS: %w", err)
	}
	return f, nil
}

// seals are those Load insists on: what it has checked stays as it is.
const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// encode lays the script out.
func (s *Script) encode() ([]byte, []step, error) {
	calls := s.joined() // first: it adds to files
	cgroup, pidOf := s.index(s.clone.Cgroup), s.index(s.clone.PIDOf)
	if err := s.check(calls); err != nil {
		return nil, nil, err
	}
	n := len(s.relocs) + relocated(calls)
	dataOff := headerSize + callSize*len(calls) + relocSize*n
	size := dataOff + len(s.data)
	if size > MaxSize {
		return nil, nil, fmt.Errorf("%d bytes of arguments, at most %d are possible: %w", size, MaxSize, unix.E2BIG)
	}
	b := make([]byte, 0, size)
	b = append(b, wireMagic...)
	b = le.AppendUint32(b, wireVersion)
	options := uint32(0)
	if s.clone.Exposed {
		options |= optExposed
	}
	b = le.AppendUint32(b, options)
	b = le.AppendUint64(b, s.clone.Flags)
	for _, v := range []int{cgroup, pidOf, len(s.files), len(calls), n, dataOff} {
		b = le.AppendUint32(b, uint32(v))
	}
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint64(b, 0)
	b, steps := appendCalls(b, calls, dataOff)
	b = s.appendRelocs(b, calls, dataOff)
	b = append(b, s.data...)
	for _, r := range s.relocs {
		if r.kind == pointer {
			w := b[dataOff+int(r.off):]
			le.PutUint64(w, le.Uint64(w)+uint64(dataOff))
		}
	}
	return b, steps, nil
}

// relocated counts the arguments that Load changes.
func relocated(calls []*Call) (n int) {
	for _, c := range calls {
		for _, a := range c.args {
			if a.moves() {
				n++
			}
		}
	}
	return n
}

// moves tells whether a is known only where the script runs.
func (a Arg) moves() bool { return a.kind != number && a.kind != result }

func appendCalls(b []byte, calls []*Call, dataOff int) ([]byte, []step) {
	steps := make([]step, len(calls))
	for i, c := range calls {
		steps[i] = step{c.step, c.object, c.nr}
		b = le.AppendUint64(b, uint64(c.nr))
		results := uint64(0)
		for k, a := range c.args {
			switch a.kind {
			case pointer:
				a.v += uint64(dataOff)
			case result:
				results |= 1 << k
			}
			b = le.AppendUint64(b, a.v)
		}
		for _, w := range []uint64{results, c.ignore, uint64(c.skip), c.flags, ^uint64(0)} {
			b = le.AppendUint64(b, w)
		}
	}
	return b, steps
}

func (s *Script) appendRelocs(b []byte, calls []*Call, dataOff int) []byte {
	add := func(off int, k argKind) {
		b = le.AppendUint32(le.AppendUint32(b, uint32(off)), uint32(k))
	}
	for i, c := range calls {
		for k, a := range c.args {
			if a.moves() {
				add(headerSize+callSize*i+callArgs+8*k, a.kind)
			}
		}
	}
	for _, r := range s.relocs {
		add(dataOff+int(r.off), r.kind)
	}
	return b
}

// index registers f, if there is one, and returns its index + 1.
func (s *Script) index(f *os.File) int {
	if f == nil {
		return 0
	}
	return int(s.File(f).v) + 1
}

// joined returns the calls with those that lead from the outer to the inner child,
// and those that an exposed child's birth needs.
func (s *Script) joined() []*Call {
	if s.clone.UserNS == nil && !s.clone.Exposed {
		return s.calls
	}
	before := s.clone.Before
	if before < 0 || before > len(s.calls) {
		s.fail(fmt.Errorf("%d calls before joining the user namespace, of %d", before, len(s.calls)))
		return s.calls
	}
	t := &Script{files: s.files}
	if s.clone.UserNS != nil {
		t.Call("join", "user namespace", unix.SYS_SETNS, t.File(s.clone.UserNS), Int(unix.CLONE_NEWUSER))
		t.Call("drop", "supplementary groups", unix.SYS_SETGROUPS)
		t.Call("become", "group 0 of the user namespace", unix.SYS_SETRESGID)
		t.Call("become", "user 0 of the user namespace", unix.SYS_SETRESUID)
		t.Call("create", "process", unix.SYS_CLONE3).flags = flagFork
	}
	if s.clone.Exposed {
		t.Call("hide", "memory", unix.SYS_MADVISE).flags = flagHide
		if s.clone.PIDOf != nil {
			// After the fork: the inner child must not be in it.
			t.Call("join", "PID namespace", unix.SYS_SETNS, t.File(s.clone.PIDOf), Int(unix.CLONE_NEWPID))
		}
	}
	s.files = t.files

	calls := append([]*Call(nil), s.calls[:before]...)
	calls = append(calls, t.calls...)
	for i, c := range calls[:before] {
		if i+c.skip >= before {
			s.fail(fmt.Errorf("%s %s: skips out of the calls before the user namespace", c.step, c.object))
		}
	}
	for _, c := range s.calls[before:] {
		moved := *c
		for k, a := range c.args {
			if a.kind == result && a.v >= uint64(before) {
				moved.args[k].v += uint64(len(t.calls))
			}
		}
		calls = append(calls, &moved)
	}
	return calls
}

// check returns what is wrong with the script: the first recorded mistake, or a limit.
func (s *Script) check(calls []*Call) error {
	switch {
	case s.err != nil:
		return s.err
	case len(s.files) > MaxFiles:
		return fmt.Errorf("%d descriptors, at most %d are possible", len(s.files), MaxFiles)
	case len(calls) > MaxCalls:
		return fmt.Errorf("%d calls, at most %d are possible", len(calls), MaxCalls)
	case s.clone.Flags&^namespaces != 0:
		return fmt.Errorf("clone flags %#x: only new namespaces, without user and time, are possible", s.clone.Flags)
	case s.clone.UserNS == nil && s.clone.Before != 0:
		return fmt.Errorf("%d calls before joining a user namespace, but there is none", s.clone.Before)
	}
	if err := s.checkBirth(); err != nil {
		return err
	}
	for i, c := range calls {
		if c.skip < 0 || i+c.skip >= len(calls) {
			return fmt.Errorf("%s %s: skips %d calls, which are not there", c.step, c.object, c.skip)
		}
		for _, a := range c.args {
			if a.kind == result && a.v >= uint64(i) {
				return fmt.Errorf("%s %s: uses the result of a call that is not before it", c.step, c.object)
			}
		}
	}
	return nil
}

// checkBirth holds an exposed script to what Birth says.
func (s *Script) checkBirth() error {
	births := 0
	birth := slices.IndexFunc(s.calls, func(c *Call) bool { return c.flags&flagBirth != 0 })
	for i, c := range s.calls {
		switch {
		case c.flags&flagBirth != 0:
			births++
			if i < s.clone.Before {
				return errors.New("the child is born before it has joined the user namespace")
			}
		case i < birth && i+c.skip >= birth:
			return fmt.Errorf("%s %s: skips the child's birth", c.step, c.object)
		case births > 0 && slices.ContainsFunc(c.args[:], func(a Arg) bool { return a.kind == file || a.kind == stdio }):
			return fmt.Errorf("%s %s: uses a descriptor after the child's birth", c.step, c.object)
		}
	}
	switch {
	case s.clone.Exposed && births != 1, !s.clone.Exposed && births != 0:
		return fmt.Errorf("%d births in a script with exposed = %v", births, s.clone.Exposed)
	case s.clone.Exposed && s.clone.Flags&unix.CLONE_NEWPID != 0:
		return errors.New("a child in a PID namespace of its own is not exposed")
	}
	return nil
}
