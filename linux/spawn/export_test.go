package spawn

import "golang.org/x/sys/unix"

// Encode is the plan's bytes, for golden files and the fuzzer's corpus.
func (s *Script) Encode() ([]byte, error) {
	b, _, err := s.encode()
	return b, err
}

// Check validates bytes as Load does, and relocates good ones.
func Check(b []byte, files int) error {
	h, err := check(b, files)
	if err == nil {
		h.relocate(b, 0x7f0000000000, make([]int, files), [3]int{})
	}
	return err
}

// RunForked runs an exposed program's table in a plain fork, and returns what each
// call returned, and the failed one. It needs nothing but clone, so that it also
// works under an emulator that has no clone3 and no vfork.
func (p *Program) RunForked() (returned []int64, failed int, errno unix.Errno) {
	defer p.Close()
	p.arm(0, 0)
	r := cloneTableBlocking(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, address(p.mem), address(p.ctl[ctlMasks:]))
	if r < 0 {
		return nil, StepClone, unix.Errno(-r)
	}
	reap(r)
	for i := range p.head.calls {
		returned = append(returned, int64(le.Uint64(p.mem[frameSize+headerSize+callSize*i+callRet:])))
	}
	return returned, int(int64(le.Uint64(p.mem[frameFailed:]))), unix.Errno(le.Uint64(p.mem[frameErrno:]))
}
