package keeper

import (
	"bytes"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"hoy/keeper/jsonlog"
)

// A terminal's master gives its bytes only once, so they are read straight into the
// journal, and stay there until they are in the log:
//
//	page 0           entries, and at consoleAt: which half is valid, bytes in it
//	half 0, half 1   the start of a line, then what was just read, then zeros
//
// What is logged leaves by copying the rest to the other half and then switching.
// A read that the keeper did not live to count shows as bytes that are not zero.
const (
	consoleAt   = 512
	consoleRead = 4096
	consoleHalf = jsonlog.MaxLine + consoleRead
	consoleSize = journalPage + 2*consoleHalf
)

// consoleBuf is that part of the journal. The state has the valid half in bit 32.
type consoleBuf struct {
	state *atomic.Uint64
	mem   []byte
}

func (j *journal) console() consoleBuf {
	return consoleBuf{(*atomic.Uint64)(unsafe.Pointer(&j.mem[consoleAt])), j.mem[journalPage:]}
}

func (c consoleBuf) which() int { return int(c.state.Load() >> 32 & 1) }
func (c consoleBuf) used() int  { return int(uint32(c.state.Load())) }

// room is where the next bytes go; it holds zeros.
func (c consoleBuf) room() []byte {
	half := c.half(c.which())
	return half[c.used():min(c.used()+consoleRead, len(half))]
}

func (c consoleBuf) half(i int) []byte { return c.mem[i*consoleHalf:][:consoleHalf] }
func (c consoleBuf) data() []byte      { return c.half(c.which())[:c.used()] }
func (c consoleBuf) add(n int)         { c.state.Store(uint64(c.which())<<32 | uint64(c.used()+n)) }

// drop removes the first n bytes.
func (c consoleBuf) drop(n int) {
	rest, other := c.data()[n:], c.half(1-c.which())
	clear(other[copy(other, rest):])
	c.state.Store(uint64(1-c.which())<<32 | uint64(len(rest)))
}

// recoverRead counts bytes that were read but not counted.
func (c consoleBuf) recoverRead() {
	if c.used() > consoleHalf {
		c.state.Store(0)
		clear(c.mem)
	}
	c.add(len(bytes.TrimRight(c.room(), "\x00")))
}

func (st *stream) moveConsole(w *work) (n int, err error) {
	c := st.p.journal.console()
	room := c.room()
	if cerr := st.raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), room) }); cerr != nil {
		return 0, cerr
	}
	if err != nil || n <= 0 {
		return 0, err
	}
	c.add(n)
	data := c.data()
	d := st.batch(data, len(data)-n)
	st.logConsole(w, c, false)
	d.deliver()
	return n, nil
}

func (st *stream) logConsole(w *work, c consoleBuf, flush bool) {
	for c.used() > 0 {
		k := st.p.log.write(w, st.entry, byte(c.which()), st.name(), c.data(), flush)
		if k == 0 {
			return
		}
		c.drop(k)
		st.entry.done()
	}
}

// flushConsole logs the unfinished line at the end.
func (st *stream) flushConsole() {
	if st.entry == nil {
		return
	}
	w := st.p.s.works.get()
	defer st.p.s.works.put(w)
	st.logConsole(w, st.p.journal.console(), true)
}

// recoverConsole brings log and journal into step after the death of a keeper.
func (st *stream) recoverConsole() error {
	c := st.p.journal.console()
	c.recoverRead()
	n, err := st.p.log.settle(st.entry)
	if n > 0 && byte(c.which()) == st.entry.first {
		c.drop(min(n, c.used()))
	}
	st.entry.settled(n > 0)
	if d := st.p.delivery; d != nil { // read, but not yet a batch
		data := c.data()
		if missing := int(st.entry.taken.Load() + uint64(len(data)) - d.shown(0)); missing > 0 && missing <= min(len(data), consoleRead) {
			st.unsent = data[len(data)-missing:]
		}
	}
	return err
}
