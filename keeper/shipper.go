package keeper

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hoy/keeper/jsonlog"
	"hoy/keeper/ship"
)

// A shipper sends the log of one process to its target. It follows the log's file,
// which so is its buffer: a target that is slow or down never holds up the process,
// and what a killed keeper had not sent, the next one sends.
type shipper struct {
	id   string
	c    *LogConfig
	mark *shipMark

	logged atomic.Int64 // bytes of entries that came into the log
	read   int64        // of those, how many were sent or given up
	most   int64        // between the two, before lines are dropped

	path    string          // of the log
	leaving *atomic.Int32   // the server's
	rest    *jsonlog.Reader // all of it, opened when no more comes: its files may be removed from then on
	until   atomic.Int64    // time of the end, Unix nanoseconds: later lines are of the next start
	over    chan struct{}   // closed when no more comes
	giveUp  chan struct{}   // closed when what is left is not sent any more
	done    chan struct{}

	target ship.Target // nil: not connected
	pieces [2]ship.Pieces
	down   bool // the target failed last, and that was said
}

const (
	shipGrace = 10 * time.Second // for the target to take the rest, after the process
	shipPause = time.Minute      // the longest, between two tries
)

// shipMark is what is known of the shipping, in a file that survives the keeper and
// that the engine may read at any time.
type shipMark struct {
	at      atomic.Int64 // time of the last line dealt with, Unix nanoseconds
	sent    atomic.Uint64
	dropped atomic.Uint64
	same    atomic.Uint64 // low bits of at << sameBits | how many lines of that time were dealt with
}

// sameBits is enough for the lines that are logged at once, which have the same time.
const sameBits = 20

// dealt returns how many lines of the time at were dealt with; none: the mark was left
// between its words, or by a program that counted nothing, and there are no more of them.
func (m *shipMark) dealt(at int64) (n uint64) {
	if same := m.same.Load(); same>>sameBits == uint64(at)<<sameBits>>sameBits {
		n = same & (1<<sameBits - 1)
	}
	return n
}

// deal counts a line of the time at.
func (m *shipMark) deal(at int64) {
	if at == m.at.Load() && m.dealt(at) > 0 {
		m.same.Add(1)
		return
	}
	m.same.Store(uint64(at)<<sameBits | 1)
	m.at.Store(at)
}

func markPath(root, id string) string { return filepath.Join(ioDir(root, id), "shipped") }

func openMark(path string) (*shipMark, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open mark: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(journalPage); err != nil {
		return nil, fmt.Errorf("cannot open mark: %w", err)
	}
	if err := allocate(f, 0, journalPage); err != nil {
		return nil, fmt.Errorf("cannot open mark: %w", err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, journalPage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map mark %s: %w", path, err)
	}
	return (*shipMark)(unsafe.Pointer(&mem[0])), nil
}

func (m *shipMark) close() {
	unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(m)), journalPage))
}

// Shipped tells how many lines of the log of id, which runs, its target has taken, and
// how many were dropped. An error: nothing of it is shipped.
func Shipped(execRoot, id string) (sent, dropped uint64, err error) {
	f, err := os.Open(markPath(execRoot, id))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var b [unsafe.Sizeof(shipMark{})]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0, 0, err
	}
	return binary.NativeEndian.Uint64(b[8:]), binary.NativeEndian.Uint64(b[16:]), nil
}

// newShipper finds its place in the log: its end when the process is about to start,
// or where the last keeper was.
func newShipper(markPath, id, logPath string, c *LogConfig, leaving *atomic.Int32) (*shipper, *jsonlog.Reader, error) {
	mark, err := openMark(markPath)
	if err != nil {
		return nil, nil, err
	}
	s := &shipper{id: id, c: c, mark: mark, most: c.buffer(), path: logPath, leaving: leaving, over: make(chan struct{}), giveUp: make(chan struct{}), done: make(chan struct{})}
	o := jsonlog.ReadOptions{Follow: true, Done: s.over}
	if mark.at.Load() != 0 {
		o.Tail = -1
	} else { // or who takes over before the first line is dealt with would begin at his own time
		mark.at.Store(time.Now().UnixNano() - 1)
	}
	r, err := jsonlog.Open(logPath, o)
	if err != nil {
		mark.close()
		return nil, nil, err
	}
	return s, r, nil
}

// run ships until the process has ended and the rest is sent, or given up.
func (s *shipper) run(r *jsonlog.Reader) {
	defer close(s.done)
	defer s.mark.close()
	defer func() {
		select {
		case <-s.over:
			if s.rest != nil {
				s.rest.Close()
			}
		default:
		}
		if s.target != nil {
			s.target.Close()
		}
		// A mistake in a driver must not end the keeper of all others.
		if bug := recover(); bug != nil {
			s.say("shipping has ended by a mistake in hoy: %v", bug)
		}
	}()
	err := r.Run(context.Background(), s.undealt())
	if err == nil && s.rest != nil && s.read != s.logged.Load() { // files were removed before they were read
		err = s.rest.Run(context.Background(), s.undealt())
	}
	if err != nil && !errors.Is(err, errNextStart) {
		s.say("cannot read the log: %v", err)
	}
	if n := s.mark.dropped.Load(); n > 0 {
		s.say("%d lines did not reach %s", n, s.c.Ship.Driver)
	}
}

// undealt passes on to entry what the mark does not count yet.
func (s *shipper) undealt() func(jsonlog.Entry) error {
	at := s.mark.at.Load()
	again := s.mark.dealt(at)
	counted := again > 0
	return func(e jsonlog.Entry) error {
		switch t := e.Time.UnixNano(); {
		case t < at, t == at && !counted:
			return nil
		case t == at && again > 0:
			again--
			return nil
		}
		return s.entry(e)
	}
}

// errNextStart ends the reading of a log that has lines of the next start already.
var errNextStart = errors.New("the process has been started again")

// end says that no more comes. Shipping goes on for a while, for which an upgrade waits.
func (s *shipper) end() {
	s.rest, _ = jsonlog.Open(s.path, jsonlog.ReadOptions{Tail: -1})
	s.until.Store(time.Now().UnixNano())
	s.leaving.Add(1)
	go func() {
		<-s.done
		s.leaving.Add(-1)
	}()
	close(s.over)
	time.AfterFunc(shipGrace, func() { close(s.giveUp) })
}

func (s *shipper) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "hoy-keeper: %s: %s\n", s.id, fmt.Sprintf(format, args...))
}

// entry sends one entry, trying again until that works or it is given up.
func (s *shipper) entry(e jsonlog.Entry) error {
	if until := s.until.Load(); until != 0 && e.Time.UnixNano() > until {
		return errNextStart
	}
	stderr := e.Stream == jsonlog.Stderr
	text, whole := bytes.CutSuffix(e.Line, []byte("\n"))
	stream := 0
	if stderr {
		stream = 1
	}
	l := ship.Line{Text: text, Stderr: stderr, Time: e.Time, Piece: s.pieces[stream].Next(whole)}
	if s.send(l) {
		s.mark.sent.Add(1)
	} else {
		s.mark.dropped.Add(1)
	}
	s.read += int64(e.Size)
	s.mark.deal(e.Time.UnixNano())
	return nil
}

func (s *shipper) send(l ship.Line) bool {
	pause, most := s.c.Ship.Retry()
	for failures := 0; !s.behind() && !(s.down && s.givenUp()); {
		err := s.try(l)
		if err == nil {
			if s.down {
				s.say("%s takes lines again", s.c.Ship.Driver)
			}
			s.down = false
			return true
		}
		if !s.down {
			s.say("%v: trying again", err)
		}
		s.down = true
		if failures++; most > 0 && failures > most || !s.wait(pause) {
			return false
		}
		pause = min(2*pause, shipPause)
	}
	return false
}

// givenUp tells whether a target that does not answer is not waited for any more.
func (s *shipper) givenUp() bool {
	select {
	case <-s.giveUp:
		return true
	default:
		return false
	}
}

func (s *shipper) try(l ship.Line) (err error) {
	if s.target == nil {
		if s.target, err = ship.Open(s.c.Ship); err != nil {
			s.target = nil
			return err
		}
	}
	if err = s.target.Send(l); err != nil {
		s.target = nil
	}
	return err
}

// wait pauses between two tries. false: the line is given up, because too many wait
// behind it, or the process has ended long ago.
func (s *shipper) wait(pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !s.behind() {
		select {
		case <-t.C:
			return true
		case <-s.giveUp:
			return false
		case <-tick.C:
		}
	}
	return false
}

// behind tells whether more waits than may.
func (s *shipper) behind() bool { return s.logged.Load()-s.read > s.most }

// buffer is how many bytes of log may wait: as told, or what surely is in the files.
func (c *LogConfig) buffer() int64 {
	size, files := c.MaxSize, c.MaxFile
	if size == 0 {
		size = jsonlog.DefaultMaxSize
	}
	if files == 0 {
		files = jsonlog.DefaultMaxFile
	}
	switch {
	case size < 0 && c.MaxBuffer == 0:
		return math.MaxInt64
	case size < 0 || c.MaxBuffer > 0 && c.MaxBuffer < size*int64(max(files-1, 1)):
		return c.MaxBuffer
	}
	return size * int64(max(files-1, 1))
}
