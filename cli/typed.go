package cli

import (
	"io"
	"sync"

	"hoy/cli/terminal"
	"hoy/client"
)

// typed is our input on its way to a container. When a stream breaks, whoever reads for it
// goes on waiting for input: what then comes is the next stream's.
type typed struct {
	in io.Reader

	mu   sync.Mutex // held while in is read and a stream is written to
	buf  []byte
	left []byte // of buf: read, and not taken by a stream yet
	err  error  // of in; nil: there may be more
}

// next gives to s what is read next, unless it is stopped meanwhile. It tells of the end of
// the input, or of the stream.
func (t *typed) next(s io.Writer, stopped <-chan struct{}) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.left) == 0 && t.err == nil {
		var n int
		n, t.err = t.in.Read(t.buf)
		t.left = t.buf[:n]
	}
	select {
	case <-stopped:
		return io.EOF
	default:
	}
	if len(t.left) == 0 {
		return t.err
	}
	n, err := s.Write(t.left)
	t.left = t.left[n:]
	return err
}

// input copies our input to the container until it ends (then the container sees
// its end), or the user detaches, which the channel then tells. After stop nothing that
// has not been given to s is any more.
func (w *wiring) input(s *client.Stream) (detached <-chan error, stop func(), err error) {
	told := make(chan error, 1)
	if w.in == nil {
		return told, func() {}, nil
	}
	if w.typed == nil {
		in := w.in
		if w.tty {
			if in, err = terminal.Detachable(in, w.keys); err != nil {
				return nil, nil, err
			}
		}
		w.typed = &typed{in: in, buf: make([]byte, 32<<10)}
	}
	stopped := make(chan struct{})
	go func() {
		var err error
		for err == nil {
			err = w.typed.next(s, stopped)
		}
		if terminal.Detached(err) {
			told <- errDetached
			return
		}
		s.CloseWrite()
	}()
	return told, sync.OnceFunc(func() { close(stopped) }), nil
}
