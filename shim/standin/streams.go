package standin

import (
	"io"
	"os"
	"time"

	"github.com/moby/term"
	"golang.org/x/sys/unix"

	"hoy/shim"
)

// streams are a process's standard streams. Output goes from the shim straight into the
// keeper's FIFOs, which are this process's descriptors 1 and 2. Input, and all of a
// terminal, is carried by FIFOs between here and the shim: the end of the input has to
// be told it in words, and a terminal here is the container's terminal's own client.
type streams struct {
	terminal     bool
	in, out, err string // paths for the shim; "": none

	made     []string
	output   *os.File // from the shim; with a terminal
	keep     *os.File // a writing end of it, so that it has no end before the process has
	finished chan struct{}
}

// openStreams makes them in the bundle, with names that begin with prefix.
func openStreams(b shim.Bundle, prefix string, terminal, stdin bool) (s *streams, err error) {
	s = &streams{terminal: terminal, finished: make(chan struct{})}
	if !terminal {
		if s.out, err = os.Readlink("/proc/self/fd/1"); err != nil {
			return nil, err
		}
		if s.err, err = os.Readlink("/proc/self/fd/2"); err != nil {
			return nil, err
		}
	}
	if stdin || terminal {
		s.in = b.Path(prefix + "0")
		if err := s.fifo(s.in); err != nil {
			return nil, err
		}
	}
	if !terminal {
		return s, nil
	}
	if _, err := term.MakeRaw(0); err != nil { // the container's terminal does what this one would
		return nil, err
	}
	s.out = b.Path(prefix + "1")
	if err := s.fifo(s.out); err != nil {
		return nil, err
	}
	if s.output, err = os.OpenFile(s.out, os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, err
	}
	s.keep, err = os.OpenFile(s.out, os.O_WRONLY, 0)
	return s, err
}

func (s *streams) fifo(path string) error {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	s.made = append(s.made, path)
	return nil
}

// carry begins to carry. ended tells the shim that the input has ended.
func (s *streams) carry(ended func()) {
	if s.in != "" {
		go func() {
			feed(s.in, os.Stdin)
			ended()
		}()
	}
	if s.output == nil {
		close(s.finished)
		return
	}
	go func() {
		defer close(s.finished)
		io.Copy(os.Stdout, s.output)
	}()
}

// feed copies into a FIFO, from when somebody has opened it to read. A shim does that in its
// own time, after it has answered; what was in a FIFO whose last end is closed before is
// lost, and who opens it then waits for ever.
func feed(path string, from io.Reader) {
	to, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	io.Copy(to, from)
	to.Close()
}

// finish carries what is left when the process has ended.
func (s *streams) finish() {
	if s.keep == nil {
		return
	}
	s.keep.Close()
	select {
	case <-s.finished:
	case <-time.After(2 * time.Second): // somebody else has it open
	}
}

// remove removes the FIFOs.
func (s *streams) remove() {
	for _, path := range s.made {
		os.Remove(path)
	}
}
