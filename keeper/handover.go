package keeper

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// handOver takes the duplicates that an engine kept of a process's descriptors.
func (s *server) handOver(c *conn, b *adoptBody, fds []int) error {
	if b.Done {
		closeAll(fds)
		s.concludeOrphans()
		return nil
	}
	var handed [3]int
	for i, has := range []bool{b.HasPidfd, b.HasConsole, b.HasStdin} {
		handed[i] = -1
		if has && len(fds) > 0 {
			handed[i], fds = fds[0], fds[1:]
		}
	}
	closeAll(fds)
	p, err := s.find(b.ID)
	if err != nil || p.Generation != b.Generation || p.done() != nil {
		for _, fd := range handed {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
		return fault.New(fault.NotFound, "the keeper holds no process %s", b.ID)
	}
	if b.Begun {
		p.begun.Store(true)
	}
	if handed[1] >= 0 {
		p.resumeConsole(handed[1])
	}
	if handed[2] >= 0 {
		p.resumeStdin(handed[2])
	}
	s.mu.Lock()
	if p.Tied {
		p.tiedTo = c
	}
	orphan := s.takeOrphan(p)
	s.mu.Unlock()
	if handed[0] >= 0 && (!orphan || p.pidfd != nil) {
		unix.Close(handed[0])
	} else if handed[0] >= 0 {
		unix.SetNonblock(handed[0], true)
		p.pidfd = os.NewFile(uintptr(handed[0]), "pidfd")
	}
	switch {
	case !orphan:
	case p.pidfd == nil:
		s.conclude(p)
	default:
		p.run()
	}
	return nil
}

// takeOrphan tells whether p was not found, and lets concludeOrphans leave it alone.
// The caller holds mu.
func (s *server) takeOrphan(p *process) bool {
	for i, o := range s.orphans {
		if o == p {
			s.orphans = append(s.orphans[:i:i], s.orphans[i+1:]...)
			return true
		}
	}
	return false
}

// concludeOrphans ends what nobody has come for: processes that are gone, and tied
// ones whose engine is.
func (s *server) concludeOrphans() {
	s.settledBy.Do(func() { close(s.settled) })
	s.mu.Lock()
	orphans := s.orphans
	s.orphans = nil
	var tied []*process
	for _, p := range s.procs {
		if p.Tied && p.tiedTo == nil && p.done() == nil {
			tied = append(tied, p)
		}
	}
	s.mu.Unlock()
	for _, p := range orphans {
		s.conclude(p)
	}
	for _, p := range tied {
		p.signal(unix.SIGKILL)
	}
}

// conclude ends a process that is gone.
func (s *server) conclude(p *process) {
	if p.Pid == 0 && !p.begun.Load() { // it never was: the request will be repeated
		p.discard()
		s.forget(p)
		return
	}
	go p.flow()
	go p.end(&Exit{ID: p.ID, Generation: p.Generation, Code: unknownCode, At: time.Now(),
		Error: "the exit code is lost: the process ended while it had no keeper, and no engine watched"})
}

// discard gives up what was opened for a process that never was.
func (p *process) discard() {
	for _, st := range p.streams {
		st.f.Close()
	}
	p.log.close()
	if p.journal != nil {
		p.journal.close()
	}
	if p.delivery != nil {
		p.delivery.close()
	}
	p.removeFiles()
}

// resumeConsole continues with a terminal whose master an engine kept open.
func (p *process) resumeConsole(fd int) {
	p.mu.Lock()
	has := p.stdin != nil
	p.mu.Unlock()
	if has || p.isOver() || !p.terminal() {
		unix.Close(fd)
		return
	}
	unix.SetNonblock(fd, true)
	f := os.NewFile(uintptr(fd), "console")
	if p.Pid == 0 && p.pidfd == nil {
		p.searchSession(fd)
	}
	st, err := newStream(p, 1, f)
	if err == nil && p.journal != nil {
		st.entry = p.journal.entry(0)
		err = st.recoverConsole()
	}
	if err != nil {
		p.complain("output of this process is lost: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isOver() { // meanwhile: finish would not see the stream
		f.Close()
		return
	}
	p.stdin = f
	p.streams = append(p.streams, st)
	if p.flowing {
		go st.run()
	}
}
