package keeper

import (
	"slices"

	"golang.org/x/sys/unix"
)

const (
	batch     = 64 << 10 // what a pipe holds
	pageSize  = 4 << 10  // a packet is in one page, which is no smaller anywhere
	frameHead = 8
)

// work is what moving bytes needs. It is taken from the pool only while bytes flow,
// so that an idle container does not pay for it.
type work struct {
	buf  []byte // frameHead bytes of room, then data
	enc  []byte // log entries
	pipe [2]int // scratch, for a look at what is in a pipe; always empty between uses
	ends []int  // of the packets (pipe(2), O_DIRECT) at which it looked last; none: it saw no packets
}

// workPool keeps a few works for the next ones.
type workPool chan *work

func (p workPool) get() *work {
	select {
	case w := <-p:
		return w
	default:
		return &work{buf: make([]byte, frameHead+batch), pipe: [2]int{-1, -1}}
	}
}

func (p workPool) put(w *work) {
	if cap(w.enc) > 4*batch {
		w.enc = nil
	}
	select {
	case p <- w:
	default:
		w.free()
	}
}

// drain frees what is kept.
func (p workPool) drain() {
	for {
		select {
		case w := <-p:
			w.free()
		default:
			return
		}
	}
}

func (w *work) free() {
	if w.pipe[0] >= 0 {
		unix.Close(w.pipe[0])
		unix.Close(w.pipe[1])
		w.pipe = [2]int{-1, -1}
	}
}

// peek copies what is in the pipe fd, up to a batch, and leaves it there.
func (w *work) peek(fd int) ([]byte, error) {
	if w.pipe[0] < 0 {
		if err := unix.Pipe2(w.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			w.pipe = [2]int{-1, -1}
			return nil, err
		}
	}
	n, err := unix.Tee(fd, w.pipe[1], batch, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return nil, err
	}
	// A packet ends a read. Whether the only one is one shows by what is behind it.
	all := int(n)
	if n <= pageSize {
		if m, _ := unix.Write(w.pipe[1], []byte{0}); m == 1 {
			all++
		}
	}
	w.ends = w.ends[:0]
	for got := 0; got < all; {
		m, err := unix.Read(w.pipe[0], w.buf[frameHead+got:frameHead+all])
		if err != nil || m == 0 {
			w.free() // whatever is left in the scratch pipe must not reach the next user
			return nil, err
		}
		if got += m; got < all {
			w.ends = append(w.ends, got)
		}
	}
	return w.buf[frameHead : frameHead+int(n)], nil
}

// torn is how much of the packet in which the first n bytes of a look end is behind them:
// to take those bytes from the pipe takes it away, too.
func (w *work) torn(n int) int {
	i, _ := slices.BinarySearch(w.ends, n)
	if i == len(w.ends) {
		return 0
	}
	return w.ends[i] - n
}
