package keeper

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A delivery is memory, shared with a file, that says what each attached client has
// got of the output. Clients survive the keeper, because an engine has duplicates of
// their sockets; by the delivery its successor knows at whatever instruction it was
// killed which bytes a client has, to go on with the next one, also within a frame.
//
//	page 0        batches of both streams: the last one's number, its place in the stream
//	pages 1..     marks, one for each client
//	then          the bytes of the last batch of each stream, with room for a frame's head
//
// Output becomes a batch while it is still in the FIFO, or in the console's journal;
// it leaves that only afterwards. The kernel itself counts what a client's socket
// takes: sendmmsg(2) writes the number into the mark before it returns.
type delivery struct {
	mem  []byte
	path string
	room [2]int // bytes of each batch for which the disk has room
}

// batchMark is what is known of the batches of one stream. A batch is there once last
// has its number; the places of it and of the one before are beside each other.
type batchMark struct {
	last  atomic.Uint32
	_     uint32
	place [2]struct {
		at uint64 // bytes of the stream before it
		n  uint64
	}
}

// clientMark is what a client has got: everything of the batches up to done, and of
// frame as many bytes as its offset and the count in the header that it names say.
type clientMark struct {
	client atomic.Uint64 // the attachment's number; 0: free
	frame  atomic.Uint64 // number of the batch << 32 | stream << 31 | header << 30 | offset
	done   [2]atomic.Uint32
	header [2]messageHeader
	iov    unix.Iovec
}

// messageHeader is a struct mmsghdr.
type messageHeader struct {
	unix.Msghdr
	sent uint32 // by the kernel
	_    uint32
}

const (
	maxMarks     = 60
	markSize     = 256
	deliveryHead = journalPage * (1 + (maxMarks*markSize+journalPage-1)/journalPage)
	deliverySize = deliveryHead + 2*batchRoom
	batchRoom    = batch + journalPage // a multiple of pages
)

func openDelivery(path string) (*delivery, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		defer f.Close()
		err = f.Truncate(deliverySize)
	}
	if err == nil {
		err = allocate(f, 0, deliveryHead)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open journal of clients: %w", err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, deliverySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map journal of clients %s: %w", path, err)
	}
	return &delivery{mem: mem, path: path}, nil
}

func (d *delivery) close() { unix.Munmap(d.mem) }

func (d *delivery) batches(stream int) *batchMark {
	return (*batchMark)(unsafe.Pointer(&d.mem[stream*64]))
}

func (d *delivery) mark(i int) *clientMark {
	return (*clientMark)(unsafe.Pointer(&d.mem[journalPage+i*markSize]))
}

// take gives a client its mark: the one that it has from an earlier keeper, or a
// new one, of which it misses nothing yet. nil: there are too many clients.
func (d *delivery) take(client uint64) (m *clientMark, resumed bool) {
	for i := range maxMarks {
		switch c := d.mark(i); c.client.Load() {
		case client:
			return c, true
		case 0:
			if m == nil {
				m = c
			}
		}
	}
	if m == nil {
		return nil, false
	}
	m.frame.Store(0)
	for s := range m.done {
		m.done[s].Store(d.batches(s).last.Load())
	}
	m.client.Store(client)
	return m, false
}

// shown is how far the batches of a stream reach.
func (d *delivery) shown(stream int) uint64 {
	b := d.batches(stream)
	p := &b.place[b.last.Load()&1]
	return p.at + min(p.n, batch)
}

// batch is a batch's frame: frameHead bytes, then its data.
func (d *delivery) batch(stream, n int) []byte {
	at := deliveryHead + stream*batchRoom
	return d.mem[at : at+frameHead+n : at+frameHead+n]
}

// reserve sees that there is room for a batch: few are long, and the disk may be full.
func (d *delivery) reserve(stream, n int) bool {
	n += frameHead
	if n <= d.room[stream] {
		return true
	}
	n = (n + journalPage - 1) / journalPage * journalPage
	f, err := os.OpenFile(d.path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if allocate(f, deliveryHead+stream*batchRoom, n) != nil {
		return false
	}
	d.room[stream] = n
	return true
}

// put makes data, which begins at the place at of its stream, the batch to deliver.
// All clients have the one before. Where there is no room for it, it has no number, and
// clients have to get it from this keeper.
func (d *delivery) put(stream int, at uint64, data []byte) (frame []byte, number uint32) {
	if d == nil || !d.reserve(stream, len(data)) {
		return append(make([]byte, frameHead), data...), 0
	}
	b := d.batches(stream)
	number = b.last.Load() + 1
	frame = d.batch(stream, len(data))
	copy(frame[frameHead:], data)
	b.place[number&1].at, b.place[number&1].n = at, uint64(len(data))
	b.last.Store(number)
	return frame, number
}

// last is the batch that was delivered last, or was about to be.
func (d *delivery) last(stream int) (frame []byte, number uint32) {
	b := d.batches(stream)
	number = b.last.Load()
	return d.batch(stream, int(min(b.place[number&1].n, batch))), number
}

// begin tells how much of a frame the client has: where to go on.
func (m *clientMark) begin(stream int, number uint32) (off int) {
	if m.done[stream].Load() == number {
		return -1
	}
	f := m.frame.Load()
	if uint32(f>>32) == number && int(f>>31&1) == stream {
		off = m.offset()
	}
	m.next(stream, number, off)
	return off
}

// offset is how much of the frame under way was sent.
func (m *clientMark) offset() int {
	f := m.frame.Load()
	return int(f&(1<<30-1)) + int(m.header[f>>30&1].sent)
}

// inFrame tells whether the client has a part of a frame.
func (m *clientMark) inFrame() (stream int, yes bool) {
	f := m.frame.Load()
	stream = int(f >> 31 & 1)
	return stream, m.offset() > 0 && m.done[stream].Load() != uint32(f>>32)
}

// next records that off bytes of the frame were sent; what comes is counted by the
// other header.
func (m *clientMark) next(stream int, number uint32, off int) {
	h := 1 - m.frame.Load()>>30&1
	m.header[h].sent = 0
	m.frame.Store(uint64(number)<<32 | uint64(stream)<<31 | h<<30 | uint64(off))
}

// send sends b, which is in the delivery's memory, as far as it goes without waiting.
func (m *clientMark) send(fd uintptr, b []byte) (n int, err error) {
	h := &m.header[m.frame.Load()>>30&1]
	m.iov.Base = &b[0]
	m.iov.SetLen(len(b))
	h.Msghdr = unix.Msghdr{Iov: &m.iov}
	h.SetIovlen(1)
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(h)), 1, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(h.sent), nil
}

// keepOnly frees the marks of all clients but those that are here.
func (d *delivery) keepOnly(viewers []*viewer) {
	for i := range maxMarks {
		m := d.mark(i)
		if !slices.ContainsFunc(viewers, func(v *viewer) bool { return v.mark == m }) {
			m.free()
		}
	}
}

func (m *clientMark) free() { m.client.Store(0) }
