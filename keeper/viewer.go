package keeper

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

const (
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

	mu   sync.Mutex // held over writes to the socket: frames of two streams must not mix
	rest []byte     // once the process has ended: what the client has not taken yet
	end  bool       // the process has ended
	gone sync.Once
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

// write sends the frame: frameHead bytes of room and the data of stream fd. It blocks
// until the client has taken it. false: the client is gone.
func (v *viewer) write(fd int, frame []byte) bool {
	if fd == 1 && !v.want.Stdout || fd == 2 && !v.want.Stderr {
		return true
	}
	b := frame[frameHead:]
	if v.want.Mux {
		binary.BigEndian.PutUint32(frame[4:], uint32(len(b)))
		binary.BigEndian.PutUint32(frame, uint32(fd)<<24)
		b = frame
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.end {
		b = b[v.tryWrite(b):]
		v.rest = append(v.rest, b...)
		return true
	}
	n, err := v.f.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) { // the process ended meanwhile
		v.end, v.rest = true, append(v.rest, b[n:]...)
		return true
	}
	return err == nil
}

// tryWrite writes what the socket takes at once.
func (v *viewer) tryWrite(b []byte) (n int) {
	if len(v.rest) > 0 {
		return 0
	}
	v.raw.Control(func(fd uintptr) { n, _ = unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) })
	return max(n, 0)
}

// hurry makes writes stop waiting: the process has ended, and its end must be told
// however slow its clients are.
func (v *viewer) hurry() { v.f.SetWriteDeadline(time.Unix(1, 0)) }

// leave closes the socket; if the client is not the one who wants it, after it has
// taken what is left for it.
func (v *viewer) leave(unwilling bool) {
	v.gone.Do(func() {
		v.hurry() // a write may be waiting, with mu held
		v.mu.Lock()
		defer v.mu.Unlock()
		v.end = true
		if !unwilling {
			v.rest = nil
		}
		tcp := false
		v.raw.Control(func(fd uintptr) {
			domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
			tcp = err == nil && domain != unix.AF_UNIX
		})
		if len(v.rest) == 0 && !tcp {
			v.shut(tcp)
			return
		}
		v.p.s.linger(1)
		go func() {
			defer v.p.s.linger(-1)
			v.f.SetWriteDeadline(time.Now().Add(lingerOut))
			v.f.Write(v.rest)
			v.shut(tcp)
		}()
	})
}

// shut ends the connection. Input that nobody read must be taken out first, or the
// client would see a reset in place of the end.
func (v *viewer) shut(tcp bool) {
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
		w := v.p.s.works.get()
		n, err := v.f.Read(w.buf)
		detached = v.input(w.buf[:max(n, 0)])
		v.p.s.works.put(w)
		if detached || err != nil {
			return detached
		}
	}
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
