package spawn

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// header is what Load needs of a plan that check has found good.
type header struct {
	exposed       bool
	flags         uint64
	cgroup, pidOf int // file index, -1: none
	files         int
	calls, relocs int
	dataOff, size int
	fork          int // index of the call that makes the inner child, -1: none
	birth, hide   int // of the calls so marked; -1 without exposed
	stdio         [3]bool
	relocOff      int
}

var errPlan = errors.New("malformed spawn plan")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errPlan, fmt.Sprintf(format, args...))
}

// check validates a plan, whatever its bytes. After it no offset, index or count
// in b points out of b or of a table of as many files.
func check(b []byte, files int) (header, error) {
	h, err := checkHeader(b, files)
	if err != nil {
		return h, err
	}
	for i := range h.calls {
		if err := h.checkCall(b[headerSize+callSize*i:][:callSize], i); err != nil {
			return h, err
		}
	}
	if h.exposed != (h.birth >= 0) || h.exposed != (h.hide >= 0) || h.exposed && h.birth < max(h.hide, h.fork) {
		return h, bad("the birth of an exposed child is missing or misplaced")
	}
	last := headerSize - 1
	for i := range h.relocs {
		r := b[h.relocOff+relocSize*i:]
		off := int(le.Uint32(r))
		if off <= last {
			return h, bad("relocation %d is not after the one before", i)
		}
		last = off
		if err := h.checkReloc(b, off, argKind(min(le.Uint32(r[4:]), 255))); err != nil {
			return h, err
		}
	}
	return h, nil
}

func checkHeader(b []byte, files int) (h header, err error) {
	if len(b) < headerSize || len(b) > MaxSize || string(b[:8]) != wireMagic {
		return h, bad("no plan in %d bytes", len(b))
	}
	if v := le.Uint32(b[8:]); v != wireVersion {
		return h, bad("version %d, this program knows version %d", v, wireVersion)
	}
	options := le.Uint32(b[12:])
	h = header{
		exposed: options&optExposed != 0,
		flags:   le.Uint64(b[16:]),
		cgroup:  int(le.Uint32(b[24:])) - 1,
		pidOf:   int(le.Uint32(b[28:])) - 1,
		files:   int(le.Uint32(b[32:])),
		calls:   int(le.Uint32(b[36:])),
		relocs:  int(le.Uint32(b[40:])),
		dataOff: int(le.Uint32(b[44:])),
		size:    len(b),
		fork:    -1, birth: -1, hide: -1,
	}
	switch {
	case options&^optExposed != 0 || h.flags&^namespaces != 0 || le.Uint64(b[56:]) != 0:
		return h, bad("unknown options %#x or flags %#x", options, h.flags)
	case le.Uint64(b[48:]) != uint64(len(b)):
		return h, bad("%d bytes of %d", len(b), le.Uint64(b[48:]))
	case h.files != files || files > MaxFiles:
		return h, bad("%d files for a plan with %d", files, h.files)
	case h.cgroup >= files || h.pidOf >= files:
		return h, bad("no such file")
	case h.calls > MaxCalls || h.relocs > len(b)/relocSize:
		return h, bad("%d calls and %d relocations in %d bytes", h.calls, h.relocs, len(b))
	}
	h.relocOff = headerSize + callSize*h.calls
	if h.dataOff != h.relocOff+relocSize*h.relocs || h.dataOff > len(b) {
		return h, bad("data at %d", h.dataOff)
	}
	return h, nil
}

func (h *header) checkCall(c []byte, i int) error {
	results, flags := le.Uint64(c[callResults:]), le.Uint64(c[callFlags:])
	switch {
	case results>>6 != 0 || flags > flagHide || flags&(flags-1) != 0:
		return bad("call %d has unknown flags", i)
	case le.Uint64(c[callSkip:]) >= uint64(h.calls-i):
		return bad("call %d skips out of the table", i)
	case le.Uint64(c[callRet:]) != ^uint64(0):
		return bad("call %d has a return value", i)
	}
	for k := range 6 {
		if results>>k&1 != 0 && le.Uint64(c[callArgs+8*k:]) >= uint64(i) {
			return bad("call %d uses the result of one not before it", i)
		}
	}
	return h.checkMarked(flags, le.Uint64(c), results, i)
}

// checkMarked checks a call whose arguments arm writes.
func (h *header) checkMarked(flags, nr, results uint64, i int) error {
	var at *int
	var want uint64
	switch flags {
	case 0:
		return nil
	case flagFork:
		at, want = &h.fork, unix.SYS_CLONE3
	case flagBirth:
		at, want = &h.birth, unix.SYS_CLONE
	case flagHide:
		at, want = &h.hide, unix.SYS_MADVISE
	}
	if *at >= 0 || results != 0 || nr != want {
		return bad("call %d is marked and should not be", i)
	}
	*at = i
	return nil
}

// armed tells whether arm writes the arguments of call i.
func (h *header) armed(i int) bool { return i == h.fork || i == h.birth || i == h.hide }

// checkReloc checks that the word at off may be changed, and to what.
func (h *header) checkReloc(b []byte, off int, k argKind) error {
	switch {
	case off%8 != 0 || off > len(b)-8:
		return bad("relocation at %d", off)
	case off >= h.dataOff:
	case off >= h.relocOff:
		return bad("relocation at %d", off)
	default:
		call, word := (off-headerSize)/callSize, (off-headerSize)%callSize
		if word < callArgs || word >= callResults {
			return bad("relocation at %d, which is no argument", off)
		}
		if le.Uint64(b[headerSize+callSize*call+callResults:])>>((word-callArgs)/8)&1 != 0 || h.armed(call) {
			return bad("relocation at %d, which is set already", off)
		}
	}
	v := le.Uint64(b[off:])
	switch k {
	case pointer:
		if v < uint64(h.dataOff) || v > uint64(len(b)) {
			return bad("address %d", v)
		}
	case file:
		if v >= uint64(h.files) {
			return bad("file %d of %d", v, h.files)
		}
	case stdio:
		if v >= 3 {
			return bad("standard descriptor %d", v)
		}
		h.stdio[v] = true
	default:
		return bad("relocation of kind %d", k)
	}
	return nil
}

// relocate turns a checked plan into one that runs at address base.
func (h *header) relocate(b []byte, base uint64, fds []int, stdfds [3]int) {
	for i := range h.relocs {
		r := b[h.relocOff+relocSize*i:]
		w := b[le.Uint32(r):]
		v := le.Uint64(w)
		switch argKind(r[4]) {
		case pointer:
			v += base
		case file:
			v = uint64(fds[v])
		case stdio:
			v = uint64(stdfds[v])
		}
		le.PutUint64(w, v)
	}
	for i := range h.calls {
		c := b[headerSize+callSize*i:]
		for k, results := 0, le.Uint64(c[callResults:]); results != 0; k, results = k+1, results>>1 {
			if results&1 != 0 {
				w := c[callArgs+8*k:]
				le.PutUint64(w, base+headerSize+callSize*le.Uint64(w)+callRet)
			}
		}
	}
}

// Load copies a plan into memory that a child can run it from. The bytes need not
// be trusted to be a plan at all; but who can make a plan decides what the child
// does. The files must stay open until Start has returned. The child gets them as
// they are: one that is non-blocking here is non-blocking there.
func Load(memfd *os.File, files []*os.File, stdio [3]*os.File) (*Program, error) {
	p := &Program{memfd: memfd, files: append(append([]*os.File(nil), files...), stdio[:]...)}
	if err := p.load(memfd, files, stdio); err != nil {
		p.Close()
		return nil, fmt.Errorf("cannot load a spawn plan: %w", err)
	}
	return p, nil
}

func (p *Program) load(memfd *os.File, files []*os.File, stdfiles [3]*os.File) error {
	fd, err := descriptor(memfd)
	if err != nil {
		return err
	}
	if got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || got&seals != seals {
		return bad("not sealed (%v)", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if st.Size < headerSize || st.Size > MaxSize {
		return bad("%d bytes", st.Size)
	}
	if err := p.allocate(int(st.Size)); err != nil {
		return err
	}
	b := p.plan
	if n, err := unix.Pread(fd, b, 0); n != len(b) {
		return bad("cannot be read (%v)", err)
	}
	if p.head, err = check(b, len(files)); err != nil {
		return err
	}
	if p.head.exposed {
		if err = p.separate(); err != nil {
			return err
		}
	}
	return p.resolve(b, files, stdfiles)
}

// resolve gives the plan the descriptors' numbers and its address.
func (p *Program) resolve(b []byte, files []*os.File, stdfiles [3]*os.File) (err error) {
	p.fds = make([]int, len(files))
	for i, f := range files {
		if p.fds[i], err = descriptor(f); err != nil {
			return err
		}
	}
	std := [3]int{-1, -1, -1}
	for i, f := range stdfiles {
		if !p.head.stdio[i] {
			continue
		}
		if std[i], err = descriptor(f); err != nil {
			return err
		}
	}
	p.head.relocate(b, uint64(address(b)), p.fds, std)
	return nil
}

// descriptor returns f's descriptor without making it blocking, as Fd may.
func descriptor(f *os.File) (fd int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("descriptor of the plan: %w", err)
	}
	if e := c.Control(func(n uintptr) { fd = int(n) }); e != nil {
		return -1, fmt.Errorf("descriptor of the plan: %w", e)
	}
	return fd, nil
}

// address is where mapped memory is. The garbage collector does not move it.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// allocate maps the memory of a program whose plan has size bytes. Pages are made
// now, in one go, rather than one fault at a time in the child.
func (p *Program) allocate(size int) error {
	m, err := p.mmap(ctlSize+frameSize+size, unix.MAP_PRIVATE)
	if err == nil {
		p.ctl, p.frame, p.plan = m[:ctlSize], m[ctlSize:][:frameSize], m[ctlSize+frameSize:]
	}
	return err
}

// separate moves the frame to memory that forked children share, and makes another
// one for the exposed child to write to: whoever traces that may change it at any
// time, and must not change where the child's pid is read from.
func (p *Program) separate() error {
	page := os.Getpagesize()
	m, err := p.mmap(2*page, unix.MAP_SHARED)
	if err == nil {
		p.frame, p.report = m[:page], m[page:]
	}
	return err
}

func (p *Program) mmap(size, how int) ([]byte, error) {
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, how|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	p.maps = append(p.maps, m)
	return m, nil
}
