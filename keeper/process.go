package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
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
	child   bool     // the keeper's own: waitid(2) knows its exit status
	pidfd   *os.File // non-blocking
	tiedTo  *conn
	log     *logger
	streams []*stream
	started chan struct{} // closed when pid, or failed, is set
	failed  error         // of the spawn
	ended   chan struct{} // closed when the process is dead; output may still be on its way

	mu      sync.Mutex
	journal *journal
	viewers []*viewer // replaced, never changed, so that it can be walked without mu
	over    bool      // the last output is delivered: nobody can attach any more
	stdin   *os.File  // writing end of the pipe, or the terminal
	exit    *Exit
	said    bool // a complaint was made; one is enough
}

func newProcess(s *server, c config) *process {
	return &process{s: s, state: state{config: c}, started: make(chan struct{}), ended: make(chan struct{})}
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

// run starts the goroutines of a process that lives.
func (p *process) run() {
	for _, st := range p.streams {
		go st.run()
	}
	go p.wait()
}

// attach adds a client, which sees all output from now on.
func (p *process) attach(f *os.File, a attachBody) error {
	v, err := newViewer(p, f, a)
	if err != nil {
		f.Close()
		return err
	}
	p.mu.Lock()
	over := p.over
	if !over {
		p.viewers = append(slices.Clip(p.viewers), v)
	}
	p.mu.Unlock()
	if over {
		v.leave(false)
		return fault.New(fault.Conflict, "%s is not running", p.ID)
	}
	select {
	case <-p.ended:
		v.hurry()
	default:
	}
	go v.read()
	return nil
}

func (p *process) remove(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.viewers, v); i >= 0 {
		p.viewers = slices.Delete(slices.Clone(p.viewers), i, i+1)
	}
}

func (p *process) attached() []*viewer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.viewers
}

// deliver gives a frame to every client, one after the other.
func (p *process) deliver(fd int, frame []byte) {
	for _, v := range p.attached() {
		if !v.write(fd, frame) {
			p.remove(v)
			v.leave(false)
		}
	}
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

// finish delivers the output that the process left behind, and closes what it had.
func (p *process) finish() {
	close(p.ended)
	for _, v := range p.attached() {
		v.hurry()
	}
	for _, st := range p.streams {
		st.finish()
	}
	for _, st := range p.streams {
		<-st.done
	}
	p.mu.Lock()
	viewers, stdin, journal := p.viewers, p.stdin, p.journal
	p.over, p.viewers, p.stdin, p.journal = true, nil, nil, nil
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
