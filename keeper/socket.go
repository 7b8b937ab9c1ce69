package keeper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/rawconn"
)

// socket is one end of a SOCK_SEQPACKET connection. One goroutine may receive;
// any number may send.
type socket struct {
	f   *os.File
	raw syscall.RawConn
	buf []byte
	oob []byte
}

func newSocket(fd int) (*socket, error) {
	// Room for the largest message; the default of some machines is less.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxBody)
	f := os.NewFile(uintptr(fd), "keeper.sock")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &socket{f: f, raw: raw}, nil
}

// address reaches path by a descriptor of its directory: the name in a socket
// address ends at 107 bytes, a path does not.
func address(path string) (addr string, dir *os.File, err error) {
	dir, err = os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path), dir, nil
}

func listen(path string) (*socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: socket: %w", path, err)
	}
	addr, dir, err := address(path)
	if err == nil {
		defer dir.Close()
		if err = unix.Bind(fd, &unix.SockaddrUnix{Name: addr}); err == nil {
			if err = os.Chmod(path, 0o600); err == nil {
				err = unix.Listen(fd, 16)
			}
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return newSocket(fd)
}

func dial(path string) (*socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: socket: %w", path, err)
	}
	addr, dir, err := address(path)
	if err == nil {
		defer dir.Close()
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: addr})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot connect to %s: %w", path, err)
	}
	return newSocket(fd)
}

// accept returns the next connection of root or of the keeper's own user; others
// are turned away.
func (s *socket) accept() (*socket, error) {
	for {
		nfd, err := -1, error(nil)
		rerr := rawconn.Read(s.raw, func(fd uintptr) bool {
			nfd, _, err = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return err != unix.EAGAIN && err != unix.EINTR && err != unix.ECONNABORTED
		})
		if rerr == nil && (err == unix.EMFILE || err == unix.ENFILE) {
			time.Sleep(acceptPause) // until something is closed; what runs goes on
			continue
		}
		if rerr != nil {
			return nil, rerr
		}
		if err != nil {
			return nil, fmt.Errorf("cannot accept: %w", err)
		}
		cred, err := unix.GetsockoptUcred(nfd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid()) {
			return newSocket(nfd)
		}
		unix.Close(nfd)
	}
}

// send sends one message with descriptors.
func (s *socket) send(msg []byte, fds []int) error {
	if len(fds) > maxFiles {
		return fmt.Errorf("cannot send %d descriptors in one message", len(fds))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	var err error
	rerr := rawconn.Write(s.raw, func(fd uintptr) bool {
		for {
			_, err = unix.SendmsgN(int(fd), msg, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if rerr != nil {
		return rerr
	}
	return err
}

// receive returns the next message and the descriptors that came with it, which are
// the caller's. The message is valid until the next receive. A datagram that is too
// long, or has too many descriptors, is an error that leaves nothing open.
func (s *socket) receive() ([]byte, []int, error) {
	if s.buf == nil {
		s.buf = make([]byte, headerSize+maxBody+1)
		s.oob = make([]byte, unix.CmsgSpace(4*maxFiles)+unix.CmsgSpace(unix.SizeofUcred))
	}
	var n, oobn, flags int
	var err error
	rerr := rawconn.Read(s.raw, func(fd uintptr) bool {
		for {
			n, oobn, flags, _, err = unix.RecvmsgBuffers(int(fd), [][]byte{s.buf}, s.oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if rerr != nil {
		return nil, nil, rerr
	}
	if err != nil {
		return nil, nil, err
	}
	fds, err := rights(s.oob[:oobn])
	if err == nil && flags&unix.MSG_CTRUNC != 0 && flags&unix.MSG_TRUNC == 0 && n > 0 && len(fds) < maxFiles {
		closeAll(fds) // the kernel leaves out what finds no number
		return s.buf[:n], nil, errFilesLost
	}
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("message too long")
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	return s.buf[:n], fds, nil
}

var errFilesLost = fmt.Errorf("cannot receive descriptors: %w", unix.EMFILE)

const acceptPause = 50 * time.Millisecond

func rights(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	cs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range cs {
		if got, err := unix.ParseUnixRights(&cs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds, nil
}

func (s *socket) Close() error { return s.f.Close() }

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
