package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper/jsonlog"
)

// A stream carries the output of a process, from a FIFO or the master of a
// terminal, into the log and to the attached clients. Bytes leave a FIFO only after
// they are in the log.
//
// It is a goroutine that sleeps in the poller while nothing comes. A client that
// does not read stops it, and so in the end the process: nobody else.
type stream struct {
	p     *process
	fd    int // 1: stdout, or the terminal; 2: stderr
	f     *os.File
	raw   syscall.RawConn
	entry *journalEntry // set at the first byte, when there is a log

	unsent []byte // of a terminal's journal: read by an earlier keeper, clients do not have it
	behind bool   // an earlier keeper may have shown clients what it has not logged
	seen   int    // bytes at the head of the FIFO that clients have, and the log has not
	moved  int    // bytes, the last time
	done   chan struct{}
}

func newStream(p *process, fd int, f *os.File) (*stream, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &stream{p: p, fd: fd, f: f, raw: raw, done: make(chan struct{})}, nil
}

func (st *stream) name() string {
	if st.fd == 2 {
		return jsonlog.Stderr
	}
	return jsonlog.Stdout
}

// run moves output until finish is called, and then what is left.
func (st *stream) run() {
	defer close(st.done)
	for st.wait() {
		st.gather()
		var err error
		if st.moved, err = st.move(false); errors.Is(err, unix.EIO) {
			// Nobody has the terminal open: wait until somebody has, or the end.
			st.nap(50 * time.Millisecond)
		}
	}
	st.drain()
}

// wait blocks until there is something new; false: the process has ended.
func (st *stream) wait() bool {
	return st.raw.Read(func(fd uintptr) bool {
		if st.p.terminal() {
			return readable(int(fd))
		}
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		return err != nil || n > st.seen || n > 0 && st.behind
	}) == nil
}

// nap waits, but not beyond the end of the process.
func (st *stream) nap(d time.Duration) {
	select {
	case <-st.p.ended:
	case <-time.After(d):
	}
}

// Every piece of output costs a system call and a wake-up for each client. Where they are
// many, a pipe is left alone for a while after a piece, so that small ones gather; the
// first one after a quiet time goes out at once. Both streams rest together, or what
// was said to one of them would be overtaken by what was said to the other much later.
const (
	manyClients = 8
	muchOutput  = 16 << 10 // does not need to gather, and the process may wait for room
	gatherFor   = 20 * time.Millisecond
)

func (st *stream) gather() {
	p := st.p
	if p.terminal() || len(p.attached()) < manyClients {
		return
	}
	p.mu.Lock()
	rest := time.Until(p.rested)
	p.mu.Unlock()
	if rest > 0 && st.moved < muchOutput {
		st.nap(rest)
	}
	p.mu.Lock()
	p.rested = time.Now().Add(gatherFor)
	p.mu.Unlock()
}

// finish makes run return after it has moved what the process wrote.
func (st *stream) finish() { st.f.SetReadDeadline(time.Unix(1, 0)) }

// drain moves what is there when the process ends, but not what others, who have
// the FIFO open too, go on writing.
func (st *stream) drain() {
	left := batch
	if !st.p.terminal() {
		st.raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	for left > 0 {
		n, err := st.move(true)
		if n == 0 || err != nil {
			break
		}
		left -= n
	}
	if st.p.terminal() {
		st.flushConsole()
	}
	st.f.Close()
}

// move moves up to a batch of bytes. With last, an unfinished line at the end of
// what there is goes into the log too. n is the number of bytes taken.
func (st *stream) move(last bool) (n int, err error) {
	w := st.p.s.works.get()
	defer st.p.s.works.put(w)
	if st.entry == nil {
		if st.p.log == nil && len(st.p.attached()) == 0 {
			return st.moveRead(w)
		}
		if err := st.journal(); err != nil {
			st.p.complain("no journal, output is not logged: %v", err)
			return st.moveRead(w)
		}
	}
	if st.p.terminal() {
		return st.moveConsole(w)
	}
	var data []byte
	if cerr := st.raw.Control(func(fd uintptr) { data, err = w.peek(int(fd)) }); cerr != nil {
		return 0, cerr
	}
	if err != nil || len(data) == 0 {
		return 0, err
	}
	// There is more, but a look shows no more of it: the container has made its pipe longer,
	// and the pieces in it are tiny.
	crowded := !st.behind && len(data) <= st.seen
	st.behind = false
	d := st.batch(data, st.seen)
	n = st.logHead(w, data, 0, false)
	if n < len(data) && (last && st.waiting() == len(data)-n || st.full() || crowded && n == 0) {
		n = st.logHead(w, data, n, true)
	}
	d.deliver()
	st.seen = max(len(data)-n, 0)
	return n, nil
}

// logHead logs what it can of data[n:], where data is at the head of the FIFO but for n
// bytes, and takes that out of the FIFO. It returns how much of data is out.
func (st *stream) logHead(w *work, data []byte, n int, flush bool) int {
	for n < len(data) {
		k := st.p.log.write(w, st.entry, data[n], st.name(), data[n:], flush)
		if k == 0 {
			break
		}
		st.take(data[n : n+k])
		n += k
		for torn := w.torn(n); torn > 0; torn -= k {
			k = st.p.log.write(w, st.entry, data[n], st.name(), data[n:n+torn], true)
			st.entry.took = st.entry.first
			st.entry.done()
			n += k
		}
	}
	return n
}

// take reads the bytes b, which are in the log, from the FIFO: over themselves, and
// the first of them into the journal.
func (st *stream) take(b []byte) {
	took := st.p.journal.took(st.fd - 1)
	st.raw.Control(func(fd uintptr) {
		n, err := unix.Readv(int(fd), [][]byte{took, b[1:]})
		for err == nil && n > 0 && n < len(b) { // packets come one by one: pipe(2), O_DIRECT
			var m int
			m, err = unix.Read(int(fd), b[n:])
			n += m
		}
	})
	st.entry.done()
}

// moveRead takes bytes without a look before.
func (st *stream) moveRead(w *work) (n int, err error) {
	if cerr := st.raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), w.buf[frameHead:]) }); cerr != nil {
		return 0, cerr
	}
	if err != nil || n <= 0 {
		return 0, err
	}
	for _, v := range st.p.attached() {
		st.p.give(v, st.fd, w.buf[:frameHead+n], 0)
	}
	return n, nil
}

func (st *stream) waiting() (n int) {
	st.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}

// full tells whether the FIFO takes no more: many small pieces fill it long before
// it holds a line of the greatest length.
func (st *stream) full() (full bool) {
	st.raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(p, 0)
		full = err == nil && n == 0
	})
	return full
}

func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(p, 0)
	return n > 0
}

func (st *stream) journal() error {
	if st.entry != nil {
		return nil
	}
	j, err := st.p.openJournal()
	if err == nil {
		st.entry = j.entry(st.fd - 1)
	}
	return err
}

func ioDir(root, id string) string { return filepath.Join(root, "io", id) }

// recover brings log, journal and FIFO into step after the death of a keeper.
func (st *stream) recover() error {
	if st.p.journal == nil {
		return nil
	}
	st.entry = st.p.journal.entry(st.fd - 1)
	n, err := st.p.log.settle(st.entry)
	if n > 0 && st.entry.took != st.entry.first {
		drop := make([]byte, n)
		st.raw.Control(func(fd uintptr) { unix.Read(int(fd), drop) })
	}
	st.entry.settled(n > 0)
	if d := st.p.delivery; d != nil { // what clients have of what is still in the FIFO
		st.seen = min(max(0, int(d.shown(st.fd-1)-st.entry.taken.Load())), st.waiting())
		st.behind = true
	}
	return err
}
