package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/pidfd"
)

// adopt takes over what an earlier keeper of this exec root held, or an earlier program
// of this one.
func (s *server) adopt(will *bequest) error {
	left := map[string]*bequeathProcess{}
	if will != nil {
		s.inheritHolds(will) // before the processes, whose ends release them
		for i := range will.Processes {
			left[will.Processes[i].ID] = &will.Processes[i]
		}
	}
	exits, err := loadExits(s.root)
	if err != nil {
		return err
	}
	for _, e := range exits {
		p := newProcess(s, config{ID: e.ID, Generation: e.Generation})
		p.exit, p.over = e, true
		close(p.started)
		close(p.ended)
		close(p.told)
		s.procs[e.ID] = p
	}
	states, err := loadStates(s.root)
	if err != nil {
		return err
	}
	for _, st := range states {
		if old := s.procs[st.ID]; old != nil && old.Generation >= st.Generation {
			old.removeFiles() // the exit was recorded, the rest not yet removed
			continue
		}
		h := left[st.ID]
		if h != nil && h.Generation != st.Generation {
			h = nil
		}
		s.adoptOne(st, h)
	}
	return nil
}

// adoptOne takes over one process. If it is not there any more, an engine may have a
// pidfd that knows how it ended, or know that it never was: concludeOrphans waits for that.
func (s *server) adoptOne(st *state, h *bequeathProcess) {
	p := newProcess(s, st.config)
	p.state = *st
	p.adopted = true
	var f *os.File
	var err error
	if h != nil {
		f = h.take(p)
	}
	if f == nil {
		f, err = p.lookUp()
	}
	if err != nil {
		p.complain("cannot adopt it: %v", err)
	}
	if err := p.reopen(); err != nil {
		p.complain("output of this process is lost: %v", err)
	}
	s.procs[p.ID] = p
	close(p.started)
	if f == nil {
		s.orphans = append(s.orphans, p)
		return
	}
	p.pidfd = f
	if h != nil {
		h.accept(p)
	}
	if p.stdin == nil {
		p.reopenInput()
	}
	p.run()
}

// lookUp finds the process; nil: it is gone.
func (p *process) lookUp() (*os.File, error) {
	if p.Pid == 0 {
		return p.search()
	}
	f, err := pidfd.Open(p.Pid)
	if err != nil {
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			return nil, nil
		}
		return nil, err
	}
	inode, start, err := identity(f, p.Pid)
	if err != nil || inode != p.Inode || start != p.StartTime {
		f.Close() // another process has got the pid
		return nil, nil
	}
	return f, nil
}

// search finds a process whose keeper died between its clone and writing down its
// pid: by its standard output, our FIFO. It may be about to run its script yet, so
// the search is repeated for a while.
func (p *process) search() (*os.File, error) {
	if p.terminal() {
		return nil, nil // the engine's duplicate of the master leads to it: see handOver
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(p.dir(), "1"), &st); err != nil {
		return nil, nil
	}
	for deadline := time.Now().Add(300 * time.Millisecond); ; time.Sleep(5 * time.Millisecond) {
		if pid := holder(&st); pid != 0 {
			return p.found(pid)
		}
		if time.Now().After(deadline) {
			return nil, nil
		}
	}
}

// found completes the state of a process whose pid was not known.
func (p *process) found(pid int) (*os.File, error) {
	f, err := pidfd.Open(pid)
	if err != nil {
		return nil, err
	}
	p.Pid = pid
	if p.Inode, p.StartTime, err = identity(f, pid); err == nil {
		var sf *os.File
		if sf, err = os.OpenFile(statePath(p.s.root, p.ID), os.O_WRONLY, 0); err == nil {
			err = p.setPid(sf)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// holder returns the oldest process that has the file as its standard output or
// error, 0 if none has.
func holder(want *unix.Stat_t) (pid int) {
	es, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	oldest := uint64(0)
	for _, e := range es {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		err = unix.Stat("/proc/"+e.Name()+"/fd/1", &st)
		if err != nil || st.Ino != want.Ino || st.Dev != want.Dev {
			continue
		}
		if t, err := procStartTime(n); err == nil && (pid == 0 || t < oldest || t == oldest && n < pid) {
			pid, oldest = n, t
		}
	}
	return pid
}

// procStat returns the fields of proc_pid_stat(5) from the third on, the state.
func procStat(pid int) ([]string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])), nil
}

// procStartTime is field 22 of proc_pid_stat(5).
func procStartTime(pid int) (uint64, error) {
	fields, err := procStat(pid)
	if err != nil {
		return 0, err
	}
	if len(fields) < 20 {
		return 0, fmt.Errorf("cannot read start time of process %d", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// reopen opens the FIFOs and the log again, and drops from the FIFOs what the log
// has. A terminal comes back by handOver only.
func (p *process) reopen() error {
	if _, err := os.Stat(filepath.Join(p.dir(), "journal")); err == nil {
		if _, err := p.openJournal(); err != nil {
			return err
		}
	}
	path := filepath.Join(p.dir(), "clients")
	_, err := os.Stat(path)
	if err == nil {
		if p.delivery, err = openDelivery(path); err != nil {
			return err
		}
	}
	if p.log, err = p.openLog(); err != nil {
		return err
	}
	if p.terminal() {
		return nil
	}
	for fd := 1; fd <= 2; fd++ {
		f, err := openRaw(filepath.Join(p.dir(), strconv.Itoa(fd)), unix.O_RDWR|unix.O_NONBLOCK)
		if err == nil {
			err = p.addStream(fd, f)
		}
		if err == nil {
			err = p.streams[len(p.streams)-1].recover()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// searchSession finds a terminal's process whose pid was not written down: it leads
// the session of its terminal. It may be about to make that session yet. Who calls it
// runs p if it has a pidfd then.
func (p *process) searchSession(master int) {
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		pid, err := unix.IoctlGetInt(master, unix.TIOCGSID)
		if err != nil || pid <= 0 {
			continue
		}
		if p.pidfd, err = p.found(pid); err != nil {
			p.complain("cannot adopt it: %v", err)
		}
		return
	}
}
