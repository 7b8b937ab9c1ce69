package keeper

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Standard input that is no terminal is a pipe without a name. Unlike a FIFO it can
// be opened by /dev/stdin, that is /proc/self/fd/0, when nobody has it open for
// writing any more: that gives the end of file in place of waiting for ever. Who has
// it may open it, whatever user it is.
//
// Its writing end is the keeper's, and a duplicate is the engine's until the keeper
// tells that the input has ended (let go). When both have died, the way back is the
// process's own descriptor.

// openInput makes the standard input: reading and writing end.
func (p *process) openInput() (theirs, ours *os.File, err error) {
	p.Input = 0
	if !p.OpenStdin {
		theirs, err = openRaw("/dev/null", unix.O_RDONLY)
		return theirs, nil, err
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("cannot make standard input: pipe2: %w", err)
	}
	var st unix.Stat_t
	err = unix.Fchmod(fds[0], 0o666)
	if err == nil {
		err = unix.SetNonblock(fds[1], true)
	}
	if err == nil {
		err = unix.Fstat(fds[0], &st)
	}
	if err != nil {
		closeAll(fds[:])
		return nil, nil, fmt.Errorf("cannot make standard input: %w", err)
	}
	p.Input = st.Ino
	return os.NewFile(uintptr(fds[0]), "stdin"), os.NewFile(uintptr(fds[1]), "stdin"), nil
}

// input writes to the standard input of the process.
func (p *process) input(b []byte) error {
	p.mu.Lock()
	f := p.stdin
	p.mu.Unlock()
	if f == nil {
		return os.ErrClosed
	}
	_, err := f.Write(b)
	return err
}

// closeStdin ends the standard input: first on record, so that no later keeper opens
// it again. That of a terminal ends with the terminal.
func (p *process) closeStdin() {
	if p.terminal() {
		return
	}
	p.mu.Lock()
	f := p.stdin
	p.stdin = nil
	recorded := f == nil || p.recordInputEnd() == nil
	p.mu.Unlock()
	if !recorded {
		p.complain("the end of its input is not on record")
	}
	if f == nil {
		return
	}
	f.Close()
	go p.s.tell(typeLetGo, letGoBody{ID: p.ID, Generation: p.Generation}, nil) // an engine that hangs does not hold us up
}

// recordInputEnd is called with mu held.
func (p *process) recordInputEnd() error {
	p.Input = 0
	f, err := os.OpenFile(statePath(p.s.root, p.ID), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return p.setPid(f)
}

// resumeStdin continues with the duplicate that an engine kept.
func (p *process) resumeStdin(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Input == 0 { // its keeper died before the engine knew
		go p.s.tell(typeLetGo, letGoBody{ID: p.ID, Generation: p.Generation}, nil)
	}
	if p.stdin != nil || p.Input == 0 || p.over || inputInode(fd) != p.Input {
		unix.Close(fd)
		return
	}
	unix.SetNonblock(fd, true)
	p.stdin = os.NewFile(uintptr(fd), "stdin")
}

// reopenInput opens the writing end again by way of the process, which may be about
// to get its standard input yet.
func (p *process) reopenInput() {
	if p.Input == 0 {
		return
	}
	path := "/proc/" + strconv.Itoa(p.Pid) + "/fd/0"
	for began := time.Now(); ; {
		if fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil { // its owner chose what it is
			found := inputInode(fd) == p.Input
			if found {
				p.stdin, _ = openRaw("/proc/self/fd/"+strconv.Itoa(fd), unix.O_WRONLY|unix.O_NONBLOCK)
			}
			unix.Close(fd)
			if found {
				return
			}
		}
		// The clock may have been set back since the start.
		if time.Since(unixTime(p.StartedAt)) > startingUp || time.Since(began) > startingUp {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// startingUp is how long a process may take to have its standard streams.
const startingUp = 300 * time.Millisecond

// inputInode is what tells the pipe fd from all others; 0 if it is none.
func inputInode(fd int) uint64 {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(fd, &st) != nil || unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.PIPEFS_MAGIC {
		return 0
	}
	return st.Ino
}
