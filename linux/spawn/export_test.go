package spawn

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

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

// RunForked runs a program's table in a plain fork, and returns what each call
// returned, and the failed one. It needs nothing but clone, so that it also works
// under an emulator that has no clone3 and no vfork.
func (p *Program) RunForked() (returned []int64, failed int, errno unix.Errno) {
	defer p.Close()
	if err := p.shareAll(); err != nil {
		return nil, StepClone, err.(unix.Errno)
	}
	p.arm(0, 0)
	if b := p.head.birth; b >= 0 {
		le.PutUint64(p.call(b)[callArgs:], uint64(unix.SIGCHLD|unix.CLONE_VFORK|unix.CLONE_PARENT_SETTID))
	}
	r := cloneTableBlocking(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, address(p.frame), address(p.ctl[ctlMasks:]))
	if r < 0 {
		return nil, StepClone, unix.Errno(-r)
	}
	reap(r)
	for i := range p.head.calls {
		returned = append(returned, int64(le.Uint64(p.call(i)[callRet:])))
	}
	report := p.frame
	if p.made(flagBirth) {
		report = p.report
	}
	return returned, int(int64(le.Uint64(report[frameFailed:]))), unix.Errno(le.Uint64(report[frameErrno:]))
}

// shareAll makes the plan's memory, where it is, one that a fork shares.
func (p *Program) shareAll() error {
	m := p.maps[0]
	content := append([]byte(nil), m...)
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(&m[0]), uintptr(len(m)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
	copy(m, content)
	return err
}
