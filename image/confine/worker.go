package confine

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"hoy/image/extract"
)

// Main is the main function of a child. It returns the exit code.
func Main() int {
	if err := work(); err != nil {
		if err := send(encodeFailed(err)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	// The engine ends the child when it has read the answer. An end with messages
	// unread would reset the connection.
	for b := make([]byte, maxMessage); ; {
		if _, err := receive(b); err != nil {
			return 0
		}
	}
}

func work() error {
	b := make([]byte, maxMessage)
	n, err := receive(b)
	if err != nil {
		return err
	}
	limits, err := decodeBegin(b[:n])
	if err != nil {
		return err
	}
	mem, err := unix.Mmap(ringFD, 0, chunks*chunkSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	root, err := os.Open(layerDir)
	if err != nil {
		return err
	}
	res, err := extract.Members(context.Background(), root, &stream{mem: mem, msg: b}, limits)
	if err != nil {
		return err
	}
	for _, m := range append(encodeNames(0, res.Implied), encodeNames(1, res.Opaque)...) {
		if err := send(m); err != nil {
			return err
		}
	}
	return send(encodeDone(res))
}

// stream reads the plain stream from the shared memory.
type stream struct {
	mem, msg []byte
	chunk    uint32
	now      []byte // what is left of it
	held     bool
	end      bool
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.now) == 0 {
		if s.end {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.now)
	s.now = s.now[n:]
	return n, nil
}

func (s *stream) next() error {
	if s.held {
		s.held = false
		if err := send(message(kindFree, s.chunk)); err != nil {
			return err
		}
	}
	n, err := receive(s.msg)
	if err != nil {
		return err
	}
	if n != 12 || le.Uint32(s.msg) != kindFilled {
		return fmt.Errorf("malformed message of the engine's")
	}
	chunk, length := le.Uint32(s.msg[4:]), le.Uint32(s.msg[8:])
	if chunk >= chunks || length > chunkSize {
		return fmt.Errorf("malformed message of the engine's")
	}
	if length == 0 {
		s.end = true
		return nil
	}
	s.chunk, s.held, s.now = chunk, true, s.mem[chunk*chunkSize:][:length]
	return nil
}

func send(b []byte) error {
	return os.NewSyscallError("sendmsg", unix.Sendmsg(socketFD, b, nil, nil, unix.MSG_NOSIGNAL))
}

// receive waits for a message. The end of the socket is the end of the engine.
func receive(b []byte) (int, error) {
	for {
		n, _, _, _, err := unix.Recvmsg(socketFD, b, nil, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("recvmsg", err)
		}
		if n == 0 {
			return 0, fmt.Errorf("the engine is gone: %w", io.ErrUnexpectedEOF)
		}
		return n, nil
	}
}
