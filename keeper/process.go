package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// A process is what the keeper holds for one container's first process, or an
// exec's: from the request, over its life, to the acknowledgement of its exit.
type process struct {
	s *server
	state
	adopted bool        // of an earlier keeper, or program
	child   bool        // the keeper's own: waitid(2) knows its exit status
	begun   atomic.Bool // an engine knows that it has, though nobody wrote down its pid
	pidfd   *os.File    // non-blocking
	tiedTo  *conn
	log     *logger
	streams []*stream
	flowed  chan struct{} // closed when the streams have been started
	started chan struct{} // closed when pid, or failed, is set
	failed  error         // of the spawn
	told    chan struct{} // closed when the engines know of the exit, which may be acknowledged then
	ended   chan struct{} // closed when the process is dead; output may still be on its way

	mu       sync.Mutex
	journal  *journal
	delivery *delivery // from the first client on
	viewers  []*viewer // replaced, never changed, so that it can be walked without mu
	flowing  bool      // the streams run
	over     bool      // the last output is delivered: nobody can attach any more
	rested   time.Time // when output has gathered for many clients
	stdin    *os.File  // writing end of the pipe, or the terminal
	exit     *Exit
	said     bool // a complaint was made; one is enough
}

func newProcess(s *server, c config) *process {
	return &process{s: s, state: state{config: c}, flowed: make(chan struct{}), told: make(chan struct{}), started: make(chan struct{}), ended: make(chan struct{})}
}

func (p *process) terminal() bool { return p.config.Terminal }

func (p *process) dir() string { return ioDir(p.s.root, p.ID) }

func (p *process) complain(format string, args ...any) {
	p.mu.Lock()
	said := p.said
	p.said = true
	p.mu.Unlock()
	if !said {
		fmt.Fprintf(os.Stderr, "hoy-keeper: %s: %s\n", p.ID, fmt.Sprintf(format, args...))
	}
}

func (p *process) openJournal() (*journal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.journal != nil {
		return p.journal, nil
	}
	size := journalPage
	if p.terminal() {
		size = consoleSize
	}
	j, err := openJournal(filepath.Join(p.dir(), "journal"), size)
	if err == nil {
		p.journal = j
	}
	return j, err
}

// addStream begins to carry output of f.
func (p *process) addStream(fd int, f *os.File) error {
	st, err := newStream(p, fd, f)
	if err == nil {
		p.streams = append(p.streams, st)
	}
	return err
}

func (p *process) resize(rows, cols uint16) (err error) {
	if !p.terminal() {
		return fault.New(fault.Invalid, "%s has no terminal", p.ID)
	}
	p.mu.Lock()
	f := p.stdin
	p.mu.Unlock()
	if f == nil {
		return fault.New(fault.Conflict, "the terminal of %s is gone", p.ID)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if err = errors.Join(cerr, err); err != nil {
		return fmt.Errorf("cannot resize terminal of %s: %w", p.ID, err)
	}
	return nil
}

// isOver tells whether the process is dead and is being seen off.
func (p *process) isOver() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// finish delivers the output that the process left behind, and closes what it had.
func (p *process) finish() {
	close(p.ended)
	for _, v := range p.attached() {
		v.hurry()
	}
	<-p.flowed
	p.mu.Lock()
	streams := p.streams
	p.mu.Unlock()
	for _, st := range streams {
		st.finish()
	}
	for _, st := range streams {
		<-st.done
	}
	p.mu.Lock()
	viewers, stdin, journal, delivery := p.viewers, p.stdin, p.journal, p.delivery
	p.over, p.viewers, p.stdin, p.journal, p.delivery = true, nil, nil, nil, nil
	p.mu.Unlock()
	for _, v := range viewers {
		v.leave(true)
	}
	if stdin != nil && !p.terminal() {
		stdin.Close()
	}
	p.log.close()
	if journal != nil {
		journal.close()
	}
	if delivery != nil {
		delivery.close()
	}
}

// signal sends sig to the process, if it lives.
func (p *process) signal(sig syscall.Signal) {
	if p.pidfd == nil {
		return
	}
	if raw, err := p.pidfd.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	}
}

// info describes the process to the engine.
func (p *process) info() processBody {
	p.mu.Lock()
	defer p.mu.Unlock()
	return processBody{ID: p.ID, Generation: p.Generation, Pid: p.Pid, StartedAt: p.StartedAt,
		Terminal: p.terminal(), OpenStdin: p.OpenStdin, Tied: p.Tied, Exit: p.exit}
}

func unixTime(ns int64) time.Time { return time.Unix(0, ns) }
