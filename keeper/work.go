package keeper

import (
	"golang.org/x/sys/unix"
)

const (
	batch     = 64 << 10 // what a pipe holds
	frameHead = 8
)

// work is what moving bytes needs. It is taken from the pool only while bytes flow,
// so that an idle container does not pay for it.
type work struct {
	buf  []byte // frameHead bytes of room, then data
	enc  []byte // log entries
	pipe [2]int // scratch, for a look at what is in a pipe; always empty between uses
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
	data := w.buf[frameHead:frameHead]
	for len(data) < int(n) {
		m, err := unix.Read(w.pipe[0], w.buf[frameHead+len(data):frameHead+int(n)])
		if err != nil || m == 0 {
			w.free() // whatever is left in the scratch pipe must not reach the next user
			return nil, err
		}
		data = data[:len(data)+m]
	}
	return data, nil
}
