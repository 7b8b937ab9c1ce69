package epoll

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	burst = 64                    // of one file, until others have their turn
	pause = 50 * time.Millisecond // until somebody may have closed a file
)

// Receive is the work of a ready function for datagrams: it reads those that wait into
// buf, one after another, calls each, and returns what the function is to return. A
// datagram that is longer than buf is cut.
func (f *File) Receive(buf []byte, each func(msg []byte, from unix.Sockaddr)) bool {
	var n int
	var from unix.Sockaddr
	return f.receive(func(fd int) (err error) {
		n, from, err = unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		return err
	}, func() { each(buf[:n], from) })
}

// ReceiveControl is Receive, and gives what the kernel tells of a datagram (cmsg(3)), as
// far as control has room for it.
func (f *File) ReceiveControl(buf, control []byte, each func(msg, control []byte, from unix.Sockaddr)) bool {
	var n, told int
	var from unix.Sockaddr
	return f.receive(func(fd int) (err error) {
		n, told, _, from, err = unix.Recvmsg(fd, buf, control, unix.MSG_DONTWAIT)
		return err
	}, func() { each(buf[:n], control[:told], from) })
}

func (f *File) receive(next func(fd int) error, each func()) bool {
	for range burst {
		switch err := f.Use(next); {
		case errors.Is(err, os.ErrClosed):
			return false
		case err == unix.EAGAIN:
			return true
		case err == nil: // others are ICMP errors of answers that nobody wants
			each()
		}
	}
	return true
}

// Accept is the work of a ready function for a socket that listens: it calls each with
// the connections that wait, non-blocking and each's to close, and returns what the
// function is to return.
func (f *File) Accept(each func(fd int)) bool {
	for range burst {
		conn := -1
		err := f.Use(func(fd int) (err error) {
			conn, _, err = unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return err
		})
		switch {
		case err == nil:
			each(conn)
		case errors.Is(err, os.ErrClosed) || err == unix.EINVAL: // EINVAL: it listens no more
			return false
		case err == unix.EAGAIN:
			return true
		case err == unix.EMFILE || err == unix.ENFILE:
			time.Sleep(pause)
			return true
		}
	}
	return true
}
