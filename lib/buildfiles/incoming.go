package buildfiles

import (
	"errors"
	"io"
	"sync"
)

// incoming is a file that is being fetched.
type incoming struct {
	folder, name string

	mu     sync.Mutex
	some   sync.Cond
	buf    []byte
	opened bool  // somebody reads it: writing waits for that
	ended  error // why nothing follows; io.EOF: it is whole
	closed bool  // nobody reads it any more
}

// maxAhead is how much of a file is held that is not read, or not yet.
const maxAhead = 512 << 10

// errNotHeld says of a file that was fetched ahead that it is not there: too large, or the
// client could not open it.
var errNotHeld = errors.New("not held")

func newIncoming(folder, name string, opened bool) *incoming {
	in := &incoming{folder: folder, name: name, opened: opened}
	in.some.L = &in.mu
	return in
}

// write takes a copy of what has come.
func (in *incoming) write(p []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.opened && len(in.buf)+len(p) > maxAhead {
		in.buf, in.ended = nil, errNotHeld
	}
	for len(in.buf) > maxAhead && !in.closed {
		in.some.Wait()
	}
	if in.closed || in.ended != nil {
		return
	}
	in.buf = append(in.buf, p...)
	in.some.Broadcast()
}

// end says that nothing follows.
func (in *incoming) end(why error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended == nil {
		in.ended = why
	}
	in.some.Broadcast()
}

// none says that the client could not open a file that was to be fetched ahead, and
// reports whether somebody waits for it.
func (in *incoming) none() (waiting bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.opened {
		in.ended = errNotHeld
	}
	return in.opened && !in.closed
}

// open makes somebody read it who did not until now, unless it is not there.
func (in *incoming) open() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.opened = true
	return in.ended != errNotHeld
}

// Read is an io.Reader's.
func (in *incoming) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.buf) == 0 && in.ended == nil && !in.closed {
		in.some.Wait()
	}
	switch {
	case in.closed:
		return 0, io.ErrClosedPipe
	case len(in.buf) == 0:
		return 0, in.ended
	}
	n := copy(p, in.buf)
	if in.buf = in.buf[n:]; len(in.buf) <= maxAhead {
		in.some.Broadcast()
	}
	return n, nil
}

// Close has the rest thrown away.
func (in *incoming) Close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.buf = true, nil
	in.some.Broadcast()
	return nil
}
