package keeper

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

const (
	hurryUp   = 300 * time.Millisecond
	lingerIn  = 5 * time.Second  // for a TCP client to close its side
	lingerOut = 10 * time.Minute // for a slow client to read what is left for it
)

// A viewer is an attached client: its socket was handed over, so it stays attached
// when the engine goes.
type viewer struct {
	p    *process
	f    *os.File
	raw  syscall.RawConn
	want attachBody
	keys *detacher
	mark *clientMark // what it has got; nil: nobody remembers that

	mu     sync.Mutex // held over writes to the socket: frames of two streams must not mix
	rest   []byte     // of a spectator, or once the process has ended: what the client has not taken yet
	behind bool       // catchUp sends rest
	end    bool       // the process has ended
	gone   sync.Once
	alone  atomic.Bool // the engine was told to close its duplicate of the socket
}

func newViewer(p *process, f *os.File, a attachBody) (*viewer, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	v := &viewer{p: p, f: f, raw: raw, want: a}
	if p.terminal() {
		v.keys = newDetacher(a.DetachKeys)
	}
	return v, nil
}

// fileOfSocket takes over a stream socket that came with a message.
func fileOfSocket(fd int) (*os.File, error) {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && typ != unix.SOCK_STREAM {
		err = unix.ESOCKTNOSUPPORT
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fault.New(fault.Invalid, "cannot attach: not a stream socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "client"), nil
}

// write sends the frame: frameHead bytes of room and the data of stream fd, which are
// the batch of that number if it is not 0. It blocks until the client has taken it.
// false: the client is gone.
func (v *viewer) write(fd int, frame []byte, number uint32) bool {
	if !v.wants(fd) {
		return true
	}
	b := v.framed(fd, frame)
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0 // what it has of b
	if v.mark != nil && number != 0 {
		if n = v.mark.begin(fd-1, number); n < 0 {
			return true
		}
	}
	n = min(n, len(b))
	switch {
	case v.want.Spectator:
		return v.show(fd, b, n, number)
	case v.end:
		n += v.tryWrite(fd, b[n:], n, number)
	default:
		var err error
		if n, err = v.send(fd, b, n, number); err == nil {
			return true
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		v.end = true // the process ended meanwhile
	}
	v.rest = append(v.rest, b[n:]...)
	return true
}

func (v *viewer) wants(fd int) bool { return fd == 1 && v.want.Stdout || fd == 2 && v.want.Stderr }

// cut tells of which stream the client has the beginning of a frame.
func (v *viewer) cut() (stream int, yes bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mark == nil {
		return 0, false
	}
	return v.mark.inFrame()
}

// framed is what goes over the socket.
func (v *viewer) framed(fd int, frame []byte) []byte {
	if !v.want.Mux {
		return frame[frameHead:]
	}
	binary.BigEndian.PutUint32(frame[4:], uint32(len(frame)-frameHead))
	binary.BigEndian.PutUint32(frame, uint32(fd)<<24)
	return frame
}

// send sends b[n:] and returns how much of b the client has then.
func (v *viewer) send(fd int, b []byte, n int, number uint32) (int, error) {
	if v.mark == nil || number == 0 {
		sent, err := v.f.Write(b[n:])
		return n + sent, err
	}
	for n < len(b) {
		var sent int
		var err error
		werr := v.raw.Write(func(fd uintptr) bool {
			sent, err = v.mark.send(fd, b[n:])
			return err != unix.EAGAIN
		})
		n += sent
		v.mark.next(fd-1, number, n)
		if werr != nil {
			return n, werr
		}
		if err != nil && err != unix.EINTR {
			return n, err
		}
	}
	v.mark.done[fd-1].Store(number)
	return n, nil
}

// tryWrite writes what the socket takes at once.
func (v *viewer) tryWrite(fd int, b []byte, off int, number uint32) (n int) {
	switch {
	case len(v.rest) > 0, len(b) == 0:
		return 0
	case v.mark != nil && number != 0:
		v.raw.Control(func(s uintptr) { n, _ = v.mark.send(s, b) })
		v.mark.next(fd-1, number, off+n)
		return n
	}
	v.raw.Control(func(fd uintptr) { n, _ = unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) })
	return max(n, 0)
}

// hurry makes writes stop waiting soon: the process has ended, and its end must be
// told however slow its clients are. What they have not taken by then is in this
// keeper's memory only.
func (v *viewer) hurry() { v.f.SetWriteDeadline(time.Now().Add(hurryUp)) }

// leave closes the socket; if the client is not the one who wants it, after it has
// taken what is left for it.
func (v *viewer) leave(unwilling bool) {
	v.gone.Do(func() {
		v.f.SetWriteDeadline(time.Unix(1, 0)) // a write may be waiting, with mu held
		tcp := v.overTCP()
		// Closing waits for catchUp, which needs mu: so it is not held then.
		if rest := v.finish(unwilling); len(rest) > 0 || tcp {
			v.p.s.linger(1)
			v.p.s.leaving.Add(1)
			go func() { // catchUp, where it is under way, sees that this goes on with it
				defer v.p.s.linger(-1)
				defer v.p.s.leaving.Add(-1)
				v.f.SetWriteDeadline(time.Now().Add(lingerOut))
				v.f.Write(rest)
				v.shut(tcp)
			}()
			return
		}
		v.shut(tcp)
	})
}

// finish makes the last word be what it returns: nobody else writes any more.
func (v *viewer) finish(unwilling bool) (rest []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.end = true
	if v.mark != nil {
		v.mark.free()
		v.mark = nil
	}
	if unwilling {
		rest = v.rest
	}
	v.rest = nil
	return rest
}

func (v *viewer) overTCP() (tcp bool) {
	v.raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		tcp = err == nil && domain != unix.AF_UNIX
	})
	return tcp
}

// shut ends the connection. Input that nobody read must be taken out first, or the
// client would see a reset in place of the end.
// The engine's duplicate has to go too, so that nothing of the connection stays.
func (v *viewer) shut(tcp bool) {
	defer v.letGo()
	if !tcp {
		v.raw.Control(func(fd uintptr) {
			unix.Shutdown(int(fd), unix.SHUT_RDWR)
			var b [4096]byte
			for range 256 {
				if n, err := unix.Read(int(fd), b[:]); n <= 0 || err != nil {
					break
				}
			}
		})
		v.f.Close()
		return
	}
	v.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	v.f.SetReadDeadline(time.Now().Add(lingerIn))
	var b [4096]byte
	for {
		if _, err := v.f.Read(b[:]); err != nil {
			break
		}
	}
	v.f.Close()
}

// read passes the client's input on, until it ends, the client goes or detaches.
func (v *viewer) read() {
	if v.want.Stdin {
		if detached := v.copyInput(); !detached {
			// As with Docker: input of one client only ends with it. Otherwise the end
			// of a client's input is the end of its attachment.
			if v.p.config.StdinOnce && !v.p.terminal() {
				v.p.closeStdin()
				v.watch()
			}
		}
	} else {
		v.watch()
	}
	v.p.remove(v)
	v.leave(false)
}

func (v *viewer) copyInput() (detached bool) {
	if v.input(v.want.Preread) {
		return true
	}
	v.want.Preread = nil
	for {
		if v.raw.Read(func(fd uintptr) bool { return readable(int(fd)) }) != nil {
			return false
		}
		if detached, more := v.moveInput(); !more {
			return detached
		}
	}
}

// moveInput passes on what there is. Into a pipe it goes straight, so that no byte is
// out of the one and not yet in the other when the keeper dies.
func (v *viewer) moveInput() (detached, more bool) {
	if v.keys == nil {
		if n, err := v.splice(); err == nil {
			return false, n > 0
		}
	}
	v.p.s.acting.RLock() // what is read here is nowhere else
	defer v.p.s.acting.RUnlock()
	w := v.p.s.works.get()
	defer v.p.s.works.put(w)
	n, err := v.f.Read(w.buf)
	detached = v.input(w.buf[:max(n, 0)])
	return detached, !detached && err == nil
}

// splice fails when the process has no input any more: then the bytes go nowhere.
func (v *viewer) splice() (n int64, err error) {
	v.p.mu.Lock()
	to := v.p.stdin
	v.p.mu.Unlock()
	if to == nil {
		return 0, os.ErrClosed
	}
	raw, err := to.SyscallConn()
	if err != nil {
		return 0, err
	}
	// While the pipe is full the client's socket is not held: to close it would wait for
	// the process, and that may be waiting for who closes it.
	werr := raw.Write(func(to uintptr) bool {
		cerr := v.raw.Control(func(from uintptr) {
			for {
				n, err = unix.Splice(int(from), nil, int(to), nil, batch, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
				if err != unix.EINTR {
					return
				}
			}
		})
		if cerr != nil {
			err = cerr
		}
		return err != unix.EAGAIN // the pipe is full: the client's bytes are there
	})
	return n, errors.Join(werr, err)
}

// input writes b to the process. true: b completed the keys to detach.
func (v *viewer) input(b []byte) (detached bool) {
	if v.keys != nil {
		b, detached = v.keys.filter(b)
	}
	if len(b) > 0 {
		v.p.input(b) // a process that has closed its input does not read: the bytes go nowhere
	}
	return detached
}

// watch waits until the client has closed its socket altogether; a client that has
// closed its writing side only still listens.
func (v *viewer) watch() {
	v.raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		unix.Poll(p, 0)
		return p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
}
