package spawn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Helper starts exposed programs for its process: children that somebody hostile
// may ptrace before their exec, because he is in their PID namespace and holds
// CAP_SYS_PTRACE over them.
//
// Such a child descends by fork from a helper process, which is this program executed
// again (its main calls HelperMain), holds nothing but the plan at hand, and is
// itself out of sight. The child comes into sight when it has given up everything that
// its container has not (Script.Birth). So what can be read from or written to it, by
// ptrace, /proc/PID/mem or pidfd_getfd, is the plan of its own container and a copy of
// an otherwise empty memory, and what it can be made to do, the container can do. Its
// parent is the helper's parent all the same (CLONE_PARENT).
//
// A helper process serves one plan at a time, so that no child sees another's plan;
// Helper starts as many as are needed at once, and keeps a few. It is safe for
// concurrent use.
type Helper struct {
	exe  string
	args []string

	mu     sync.Mutex
	idle   []*helperProcess
	closed bool
}

// keepIdle is how many idle helper processes are kept, at under 2 MB each.
const keepIdle = 2

// NewHelper returns a helper that executes exe with args when it is first needed.
// The program's main must then return HelperMain's result.
func NewHelper(exe string, args ...string) *Helper { return &Helper{exe: exe, args: args} }

// Close ends the idle helper processes, and lets busy ones end when they are done.
func (h *Helper) Close() {
	h.mu.Lock()
	idle := h.idle
	h.idle, h.closed = nil, true
	h.mu.Unlock()
	for _, p := range idle {
		p.close()
	}
}

// Start is Program.Start for any program: an exposed one runs in a helper process.
func (h *Helper) Start(p *Program, deadline time.Duration) (Child, error) {
	if !p.Exposed() {
		return p.Start(deadline)
	}
	defer p.Close()
	hp, err := h.take()
	if err != nil {
		return Child{}, fmt.Errorf("cannot start spawn helper: %w", err)
	}
	if p.OnTimeout != nil && deadline > 0 {
		t := time.AfterFunc(deadline, p.OnTimeout)
		defer t.Stop()
	}
	r, err := hp.ask(p, deadline)
	if err != nil {
		hp.close()
		return Child{}, fmt.Errorf("cannot use spawn helper: %w", err)
	}
	if r.err != nil && r.err.Killed {
		hp.close() // it may still hold the plan
	} else {
		h.give(hp)
	}
	return r.settle()
}

func (h *Helper) take() (*helperProcess, error) {
	h.mu.Lock()
	if n := len(h.idle); n > 0 {
		hp := h.idle[n-1]
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		return hp, nil
	}
	h.mu.Unlock()
	return startHelper(h.exe, h.args)
}

func (h *Helper) give(hp *helperProcess) {
	h.mu.Lock()
	keep := !h.closed && len(h.idle) < keepIdle
	if keep {
		h.idle = append(h.idle, hp)
	}
	h.mu.Unlock()
	if !keep {
		hp.close()
	}
}

// A helperProcess is the parent's end of a helper process.
type helperProcess struct {
	cmd  *exec.Cmd
	conn *os.File
}

func startHelper(exe string, args []string) (*helperProcess, error) {
	path, done, err := Unwritable(exe)
	if err != nil {
		return nil, err
	}
	defer done()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "spawn helper")
	defer theirs.Close()
	unix.SetNonblock(pair[0], true) // the waiting goroutine occupies no thread
	p := &helperProcess{conn: os.NewFile(uintptr(pair[0]), "spawn helper"), cmd: exec.Command(path, args...)}
	p.cmd.Args[0] = exe
	p.cmd.ExtraFiles = []*os.File{theirs} // as helperSocket
	p.cmd.Env = []string{}
	if err := p.cmd.Start(); err != nil {
		p.conn.Close()
		return nil, err
	}
	return p, nil
}

// close ends the process, which sees the end of its socket.
func (p *helperProcess) close() {
	p.conn.Close()
	p.cmd.Wait()
}

// ask has the process run a program.
func (p *helperProcess) ask(prog *Program, deadline time.Duration) (reply, error) {
	req := request{files: len(prog.fds), deadline: deadline}
	std := []*os.File{prog.memfd}
	for i, f := range prog.files[len(prog.fds):] {
		if prog.head.stdio[i] {
			req.stdio |= 1 << i
			std = append(std, f)
		}
	}
	if err := p.send(req.encode(), std); err != nil {
		return reply{}, err
	}
	if req.files > 0 {
		if err := p.send([]byte{0}, prog.files[:req.files]); err != nil {
			return reply{}, err
		}
	}
	b := make([]byte, maxReply)
	n, err := p.conn.Read(b)
	if err == nil && n == 0 || errors.Is(err, io.EOF) {
		err = errors.New("it has ended")
	}
	if err != nil {
		return reply{}, err
	}
	return decodeReply(b[:n])
}

func (p *helperProcess) send(b []byte, files []*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		var err error
		if fds[i], err = descriptor(f); err != nil {
			return err
		}
	}
	c, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	werr := c.Write(func(fd uintptr) bool {
		err = unix.Sendmsg(int(fd), b, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	return errors.Join(werr, err)
}

// settle is outcome.settle for children that a helper has made.
func (r reply) settle() (Child, error) {
	for _, pid := range r.gone {
		if pid != 0 {
			reapSoon(pid)
		}
	}
	if r.pid != 0 && (r.err != nil || r.text != "") {
		reapSoon(r.pid)
	}
	switch {
	case r.text != "":
		return Child{}, errors.New(r.text)
	case r.err != nil:
		return Child{}, r.err
	}
	// Nobody but this process can reap its child, so the pid is still the child's.
	fd, err := unix.PidfdOpen(r.pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return Child{}, fmt.Errorf("cannot open process %d: pidfd_open: %w", r.pid, err)
	}
	err = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	if err == unix.ECHILD {
		unix.Close(fd)
		return Child{}, fmt.Errorf("process %d, started by a helper, is no child of this one", r.pid)
	}
	return Child{Pid: r.pid, Pidfd: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// reapSoon reaps a child that was killed. One that a hostile tracer or a hung file
// system holds on to is reaped when they let go, and nobody waits for that.
func reapSoon(pid int) {
	done := make(chan struct{})
	go func() {
		reap(pid)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
}
