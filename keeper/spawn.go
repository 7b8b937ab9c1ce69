package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/lib/filelimit"
	"hoy/linux/pidfd"
	"hoy/linux/spawn"
)

const defaultDeadline = 30 * time.Second

// startFiles is how many files a start opens here at most, those of its script too,
// besides what came with the request.
const startFiles = 24

// spawnFiles are the descriptors that came with a spawn request.
type spawnFiles struct {
	memfd   *os.File
	files   []*os.File
	console *os.File
	clients []int
}

// takeFiles makes files of the descriptors of a spawn request. It owns fds.
func takeFiles(b *spawnBody, fds []int) (*spawnFiles, error) {
	want := 1 + b.Files + len(b.Attach)
	if b.Terminal {
		want++
	}
	if b.Files < 0 || b.Files > spawn.MaxFiles || len(fds) != want {
		closeAll(fds)
		return nil, fault.New(fault.Invalid, "spawn request of %s has %d descriptors, needs %d", b.ID, len(fds), want)
	}
	f := &spawnFiles{memfd: os.NewFile(uintptr(fds[0]), "plan")}
	for _, fd := range fds[1 : 1+b.Files] {
		f.files = append(f.files, os.NewFile(uintptr(fd), "plan file"))
	}
	fds = fds[1+b.Files:]
	if b.Terminal {
		unix.SetNonblock(fds[0], true)
		f.console = os.NewFile(uintptr(fds[0]), "console")
		fds = fds[1:]
	}
	f.clients = fds
	return f, nil
}

// close closes what only the spawn needed.
func (f *spawnFiles) close() {
	f.memfd.Close()
	for _, g := range f.files {
		g.Close()
	}
}

func (f *spawnFiles) closeConsole() {
	if f.console != nil {
		f.console.Close()
	}
}

// spawn answers a spawn request. It returns the process whose start it is, which may
// be an earlier one's.
func (s *server) spawn(c *conn, b *spawnBody, fds []int) (*process, error) {
	f, err := takeFiles(b, fds)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := failpoint.Hit(failpoint.KeeperSpawnReceived); err != nil {
		closeAll(f.clients)
		f.closeConsole()
		return nil, err
	}
	p, isNew, err := s.reserve(c, b)
	if err != nil {
		closeAll(f.clients)
		f.closeConsole()
		return nil, err
	}
	if !isNew {
		f.closeConsole()
		<-p.started
		if p.failed == nil {
			p.attachAll(b.Attach, f.clients)
		} else {
			closeAll(f.clients)
		}
		return p, p.failed
	}
	if err = p.start(b, f); err != nil {
		closeAll(f.clients)
		p.failed = err
		s.forget(p)
	}
	close(p.started)
	return p, err
}

// attachAll attaches the clients that came with the spawn request.
func (p *process) attachAll(as []attachBody, fds []int) {
	for i, a := range as {
		f, err := fileOfSocket(fds[i])
		if err == nil {
			err = p.attach(f, a)
		}
		if err != nil {
			p.complain("%v", err)
		}
	}
}

// start makes the process. The state file is there before the clone, so that a
// process whose keeper dies at that moment is found by the next one.
func (p *process) start(b *spawnBody, f *spawnFiles) (err error) {
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(p.removeFiles)
	if err := filelimit.Room(startFiles); err != nil {
		return fmt.Errorf("cannot start %s: %w", p.ID, err)
	}
	theirs, err := p.openStdio(f.console, &undo)
	if err != nil {
		return err
	}
	defer func() {
		for _, t := range theirs {
			if t != nil {
				t.Close()
			}
		}
	}()
	prog, err := spawn.Load(f.memfd, f.files, theirs)
	if err != nil {
		return fault.New(fault.Invalid, "cannot start %s: %w", p.ID, err)
	}
	if p.log, err = p.openLog(); err != nil {
		prog.Close()
		return err
	}
	undo.Add(p.log.close)
	p.StartedAt = time.Now().UnixNano()
	sf, err := createState(p.s.root, &p.state)
	if err != nil {
		prog.Close()
		return err
	}
	defer sf.Close()
	if err = failpoint.Hit(failpoint.KeeperSpawnState); err != nil {
		prog.Close()
		return err
	}
	if err = p.clone(prog, time.Duration(b.Deadline), sf); err != nil {
		return err
	}
	undo.Release()
	p.attachAll(b.Attach, f.clients) // before the first byte moves
	p.run()
	return nil
}

// clone runs the plan.
func (p *process) clone(prog *spawn.Program, deadline time.Duration, sf *os.File) error {
	if deadline <= 0 {
		deadline = defaultDeadline
	}
	child, err := p.s.helper.Start(prog, deadline)
	if err != nil {
		return err
	}
	p.Pid, p.pidfd, p.child = child.Pid, child.Pidfd, true
	if err = failpoint.Hit(failpoint.KeeperSpawnCloned); err == nil {
		if p.Inode, p.StartTime, err = identity(p.pidfd, p.Pid); err == nil {
			err = p.setPid(sf)
		}
	}
	if err != nil {
		p.signal(unix.SIGKILL)
		unix.Wait4(p.Pid, nil, 0, nil)
		p.pidfd.Close()
		return fmt.Errorf("cannot hold %s: %w", p.ID, err)
	}
	return nil
}

// openStdio makes the standard streams: theirs are the child's, which a terminal's
// script does not use. The child's side of an output FIFO can read too: so it never
// gets SIGPIPE, and what it wrote stays, while there is no keeper.
func (p *process) openStdio(console *os.File, undo *cleanup.Stack) (theirs [3]*os.File, err error) {
	if err := os.Mkdir(p.dir(), 0o700); err != nil && !os.IsExist(err) {
		return theirs, fmt.Errorf("cannot make standard streams: %w", err)
	}
	if console != nil {
		p.stdin = console
		undo.Add(func() { console.Close() })
		return theirs, p.addStream(1, console)
	}
	defer func() {
		if err != nil {
			for i := range theirs {
				if theirs[i] != nil {
					theirs[i].Close()
				}
				theirs[i] = nil
			}
		}
	}()
	if theirs[0], p.stdin, err = p.openInput(); err != nil {
		return theirs, err
	}
	if f := p.stdin; f != nil {
		undo.Add(func() { f.Close() })
	}
	for fd := 1; fd <= 2; fd++ {
		path := filepath.Join(p.dir(), string(rune('0'+fd)))
		ours, err := makeFIFO(path)
		if err != nil {
			return theirs, err
		}
		undo.Add(func() { ours.Close() })
		if theirs[fd], err = openRaw(path, unix.O_RDWR); err != nil {
			return theirs, err
		}
		if err := p.addStream(fd, ours); err != nil {
			return theirs, err
		}
	}
	return theirs, nil
}

// makeFIFO makes a FIFO and opens it for reading and writing. Whoever has it as
// /dev/stdout may open it again, whatever user it is; the directory keeps others out.
func makeFIFO(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o666); err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("cannot make FIFO %s: %w", path, err)
	}
	f, err := openRaw(path, unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o666); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot make FIFO %s: %w", path, err)
	}
	return f, nil
}

// openRaw opens a file as flags say: os.OpenFile would make it non-blocking, and the
// child's must not be.
func openRaw(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// identity is what tells the process from all others, later ones with its pid too.
func identity(f *os.File, pid int) (inode, startTime uint64, err error) {
	if inode, err = pidfd.Inode(f); !errors.Is(err, errors.ErrUnsupported) {
		return inode, 0, err
	}
	startTime, err = procStartTime(pid)
	return 0, startTime, err
}
