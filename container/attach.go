package container

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/term"
	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/fault"
)

// Attach connects a client to the container's streams: now, or at the start when
// it does not run. The connection goes to the keeper, which closes it when the
// container ends or the client detaches; Attach does not wait for that. Who asks for no
// stream, or for the input alone of a container without, gets the end at once.
func (c *Containers) Attach(ctx context.Context, ref string, o AttachOptions, hijack Hijack) error {
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	if err := k.unpaused("container %s is paused, unpause the container before attach", ref); err != nil {
		return err
	}
	keys, err := detachKeys(o.DetachKeys)
	if err != nil {
		return err
	}
	if k.rec().State.Status == apicontainer.StateRestarting {
		return fault.New(fault.Conflict, "container %s %w", ref, errRestarting)
	}
	config := k.rec().Config
	if o.Stream && !o.Logs {
		// A client starts the container as soon as it is told that it is attached.
		k.attaching.RLock()
		defer k.attaching.RUnlock()
	}
	s, err := hijack(config.Tty)
	if err != nil {
		return err
	}
	if o.Logs {
		if s.File != nil {
			headRead(s.File)
		}
		if err := c.replay(ctx, k, o, s); err != nil {
			s.close()
			return err
		}
	}
	stdin := o.Stdin && config.OpenStdin
	if !o.Stream || !stdin && !o.Stdout && !o.Stderr {
		go s.finish()
		c.event(k, events.ActionAttach)
		return nil
	}
	a, err := s.attachment()
	if err != nil {
		return err
	}
	a.Stdin, a.Stdout, a.Stderr = stdin, o.Stdout, o.Stderr
	a.Mux = !config.Tty && !s.Raw
	a.DetachKeys = keys
	if err := c.connect(ctx, k, a); err != nil {
		a.Conn.Close()
		return err
	}
	c.event(k, events.ActionAttach)
	return nil
}

// Resize sets the size of the container's terminal; without one it is no error, as with
// dockerd: clients do not look first.
func (c *Containers) Resize(ctx context.Context, ref string, rows, cols uint16) error {
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	if _, err := k.running(); err != nil {
		return err
	}
	if k.rec().Config.Tty {
		if err := c.o.Keeper.Resize(ctx, k.id, rows, cols); err != nil {
			return err
		}
	}
	c.event(k, events.ActionResize, "height", fmt.Sprint(rows), "width", fmt.Sprint(cols))
	return nil
}

func detachKeys(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	keys, err := term.ToBytes(s)
	if err != nil {
		return nil, fault.New(fault.Invalid, "Invalid detach keys (%s) provided", s)
	}
	return keys, nil
}

func (s *Stream) close() {
	if s.File != nil {
		s.File.Close()
	}
	if s.Conn != nil {
		s.Conn.Close()
	}
}

// lingers is how long a client may take to hang up when it has all that there is for it.
const lingers = time.Minute

// finish tells the client that nothing more comes, and closes the connection when the
// client has. Closed before, with input that nobody has read, it would be reset: the
// client would see that instead of the end, and over TCP might not get all that was
// written (RFC 9112, 9.6).
func (s *Stream) finish() {
	if s.File != nil {
		s.Conn, _ = net.FileConn(s.File)
		s.File.Close()
		s.File = nil
	}
	defer s.close()
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	s.Conn.SetReadDeadline(time.Now().Add(lingers))
	io.Copy(io.Discard, s.Conn)
}

// Write writes to the client, past the keeper.
func (s *Stream) Write(b []byte) (int, error) {
	if s.Conn != nil {
		return s.Conn.Write(b)
	}
	return s.File.Write(b)
}

// attachment takes the stream over. Where there is no socket to give away, as
// behind TLS, the engine copies between the connection and a pair of sockets.
func (s *Stream) attachment() (keeper.Attachment, error) {
	if s.File != nil {
		if s.Conn != nil {
			s.Conn.Close() // File is a duplicate
		}
		return keeper.Attachment{Conn: s.File, Preread: s.Preread}, nil
	}
	near, far, err := socketPair()
	if err != nil {
		s.close()
		return keeper.Attachment{}, err
	}
	go relay(s.Conn, near)
	return keeper.Attachment{Conn: far, Preread: s.Preread}, nil
}

// socketPair returns two sockets, one for the engine, one to be given away.
func socketPair() (near *net.UnixConn, far *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot attach: socketpair: %w", err)
	}
	f := os.NewFile(uintptr(pair[0]), "attach")
	conn, err := net.FileConn(f)
	f.Close()
	far = os.NewFile(uintptr(pair[1]), "attach")
	if err != nil {
		far.Close()
		return nil, nil, fmt.Errorf("cannot attach: %w", err)
	}
	return conn.(*net.UnixConn), far, nil
}

// relay copies both ways. The client's end of input is passed on, or is the end of all
// where a connection has no half, as a websocket; the keeper's end of output ends the
// connection.
func relay(client net.Conn, inner *net.UnixConn) {
	go func() {
		io.Copy(inner, client)
		if _, halves := client.(interface{ CloseWrite() error }); halves {
			inner.CloseWrite()
		} else {
			inner.Close()
		}
	}()
	if t, ok := client.(*tls.Conn); ok {
		if c, ok := t.NetConn().(syscall.Conn); ok {
			headRead(c)
		}
	}
	io.Copy(client, inner)
	inner.Close()
	(&Stream{Conn: client}).finish()
}
