package keeper

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/spawn"
)

const (
	idleGrace  = 2 * time.Second  // without engine and processes, until the keeper ends
	tidyAfter  = time.Second      // without spawns and exits
	adoptGrace = 10 * time.Second // for an engine to hand over what it has of lost processes
)

// server is the keeper of one exec root.
type server struct {
	root   string
	works  workPool
	helper *spawn.Helper          // starts what could be looked into
	build  func() (string, error) // of this program
	quit   chan struct{}          // closed when there is nothing more to do

	life     uint64 // see helloReply
	networks *holds
	lock     *os.File
	listener *socket
	acting   sync.RWMutex // read-locked over what an upgrade must not cut off
	leaving  atomic.Int32 // clients, and targets of logs, that still take the output of ended processes

	settled   chan struct{} // closed when an engine has handed over what it has, or none comes
	settledBy sync.Once

	mu        sync.Mutex
	procs     map[string]*process
	conns     map[*conn]struct{}
	lingering int // those clients, and logs that are still on their way
	idle      *time.Timer
	tidy      *time.Timer // runs after work
	orphans   []*process  // adopted without being found; an engine may have a pidfd
}

func newServer(root string, h *spawn.Helper) *server {
	return &server{root: root, helper: h, build: sync.OnceValues(func() (string, error) { return buildOf("/proc/self/exe") }), works: make(workPool, 2), quit: make(chan struct{}), life: rand.Uint64(), networks: newHolds(), settled: make(chan struct{}),
		procs: map[string]*process{}, conns: map[*conn]struct{}{}}
}

// conn is the connection of an engine.
type conn struct {
	*socket
	s     *server
	parts parts // of requests that are not complete
}

// serve accepts engines until the socket is closed.
func (s *server) serve(l *socket) error {
	s.touch()
	for {
		sock, err := l.accept()
		if err != nil {
			return err
		}
		c := &conn{socket: sock, s: s}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		go c.serve()
	}
}

// touch starts or stops the clock after which a keeper ends that nobody needs.
func (s *server) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	if !s.busy() {
		s.idle = time.AfterFunc(idleGrace, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.busy() {
				s.stop()
			}
		})
	}
}

// worked is called after what leaves garbage and grown stacks behind. When it has
// not been called for a while, they are given back: a collection halves a stack.
func (s *server) worked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tidy == nil {
		s.tidy = time.AfterFunc(tidyAfter, func() {
			s.works.drain()
			runtime.GC()
			debug.FreeOSMemory()
		})
		return
	}
	s.tidy.Reset(tidyAfter)
}

// busy tells whether there is an engine, or a process that runs. Exits on record do
// not count: the next keeper finds them. The caller holds mu.
func (s *server) busy() bool { return len(s.conns) > 0 || s.holds() }

func (s *server) holds() bool {
	for _, p := range s.procs {
		if p.done() == nil {
			return true
		}
	}
	return s.lingering > 0
}

func (s *server) stop() {
	select {
	case <-s.quit:
	default:
		close(s.quit)
	}
}

// terminate ends the keeper if it holds nothing.
func (s *server) terminate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holds() {
		s.stop()
	}
}

func (s *server) linger(n int) {
	s.mu.Lock()
	s.lingering += n
	s.mu.Unlock()
	s.touch()
}

// reserve finds or makes the process that a spawn request is about.
func (s *server) reserve(c *conn, b *spawnBody) (p *process, isNew bool, err error) {
	if err := checkID(b.ID); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, connected := s.conns[c]; b.Tied && !connected {
		return nil, false, fault.New(fault.Unavailable, "%s is not started: the engine that it was to be tied to has gone", b.ID)
	}
	if p = s.procs[b.ID]; p != nil {
		exit := p.done()
		switch {
		case p.Generation == b.Generation:
			if p.Tied && exit == nil {
				p.tiedTo = c
			}
			return p, false, nil
		case p.Generation > b.Generation:
			return nil, false, fault.New(fault.Conflict, "start %d of %s is over: the keeper knows start %d", b.Generation, b.ID, p.Generation)
		case exit == nil:
			return nil, false, fault.New(fault.Conflict, "%s is running", b.ID)
		}
		os.Remove(exitPath(s.root, b.ID)) // who starts it again knows that it ended
	}
	p = newProcess(s, config{b.ID, b.Generation, b.Terminal, b.OpenStdin, b.StdinOnce, b.Tied, b.Log})
	if b.Tied {
		p.tiedTo = c
	}
	s.procs[b.ID] = p
	return p, true, nil
}

func (s *server) forget(p *process) {
	s.mu.Lock()
	if s.procs[p.ID] == p {
		delete(s.procs, p.ID)
	}
	s.mu.Unlock()
	s.touch()
}

// find returns a started process by its id.
func (s *server) find(id string) (*process, error) {
	s.mu.Lock()
	p := s.procs[id]
	s.mu.Unlock()
	if p == nil {
		return nil, fault.New(fault.NotFound, "the keeper holds no process %s", id)
	}
	<-p.started
	if p.failed != nil {
		return nil, fault.New(fault.NotFound, "the keeper holds no process %s", id)
	}
	return p, nil
}

// all returns the started processes.
func (s *server) all() (ps []*process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.procs {
		select {
		case <-p.started:
			if p.failed == nil {
				ps = append(ps, p)
			}
		default:
		}
	}
	return ps
}

// done returns the exit, nil while the process runs.
func (p *process) done() *Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// ended tells the engines of an exit. With bad, a failpoint wants that to go wrong:
// they then connect again and ask.
func (s *server) ended(p *process, e *Exit, bad error) {
	if err := s.tell(typeExit, e, bad); err != nil {
		p.complain("cannot tell of its exit: %v", err)
	}
	s.touch()
	s.worked()
}

// tell sends an event to the engines. One that does not get it, or with bad, is
// disconnected.
func (s *server) tell(typ uint16, body any, bad error) error {
	msg, err := encode(typ, 0, statusOK, body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	cs := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range cs {
		if bad != nil || c.send(msg, nil) != nil {
			c.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
	}
	return nil
}

// acknowledge forgets an exit.
func (s *server) acknowledge(id string, generation uint64) error {
	p, err := s.find(id)
	if err != nil || p.Generation != generation {
		return nil // it was forgotten already
	}
	if p.done() == nil {
		return fault.New(fault.Conflict, "%s is running", id)
	}
	<-p.told // or it would be told once more
	if err := os.Remove(exitPath(s.root, id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot forget the exit of %s: %w", id, err)
	}
	s.forget(p)
	return nil
}

// gone is called when the connection c has ended: what was tied to it is killed.
func (s *server) gone(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	var tied []*process
	for _, p := range s.procs {
		if p.tiedTo == c && p.done() == nil {
			tied = append(tied, p)
		}
	}
	s.mu.Unlock()
	for _, p := range tied {
		<-p.started
		p.signal(unix.SIGKILL)
	}
	s.touch()
}
