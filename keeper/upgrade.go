package keeper

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper/names"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/pidfd"
	"hoy/linux/spawn"
)

// A keeper is upgraded in place: it executes the new program. The process stays, and
// with it the parent of all containers; what it has open goes over by number:
//
//	old                                   new
//	waits until no start, no end
//	  and no input is half done
//	bequest into a memfd, duplicates
//	  without close-on-exec
//	execve, $HOY_KEEPER_BEQUEST=fd   →    reads it, adopts as after a crash, but with
//	  (fails: closes them, goes on)         the descriptors and its own children
//	                                      accepts on the same socket
//
// Its streams may be at any instruction then, as when it is killed: the journals say
// where. Connections to engines end; they come again and repeat what was not answered.

const (
	bequestEnv   = "HOY_KEEPER_BEQUEST"
	upgradeGrace = 2 * time.Second // for what must not be cut off to be done
)

// bequest is what a keeper leaves to the program that takes its place. The numbers are
// descriptors, -1 where there is none.
type bequest struct {
	Lock      int               `json:"lock"`
	Listener  int               `json:"listener"`
	Processes []bequeathProcess `json:"processes"`

	Life  uint64                   `json:"life,omitempty"`
	Holds []bequeathHold           `json:"holds,omitempty"`
	Names map[string][]names.Entry `json:"names,omitempty"` // by network
}

type bequeathProcess struct {
	ID         string           `json:"id"`
	Generation uint64           `json:"generation"`
	Child      bool             `json:"child"`
	Pidfd      int              `json:"pidfd"`
	Input      int              `json:"input"` // standard input, or console
	Clients    []bequeathClient `json:"clients,omitempty"`
}

type bequeathClient struct {
	attachBody
	Socket int `json:"socket"`
}

// buildOf tells the program at path from all others.
func buildOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// upgrade executes program in place of this one. It returns only when that fails.
func (s *server) upgrade(program string) error {
	if s.listener == nil {
		return fault.New(fault.Unavailable, "cannot upgrade the keeper: it does not serve yet")
	}
	if err := s.quiet(); err != nil {
		return err
	}
	defer s.acting.Unlock()
	var dups []int
	defer func() { closeAll(dups) }()
	b, err := s.bequeath(&dups)
	if err == nil {
		err = failpoint.Hit(failpoint.KeeperUpgradeReady)
	}
	var will int
	if err == nil {
		if will, err = b.write(); err == nil {
			dups = append(dups, will)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot upgrade the keeper: %w", err)
	}
	path, done, err := spawn.Unwritable(program)
	if err != nil {
		return fmt.Errorf("cannot upgrade the keeper: %w", err)
	}
	defer done()
	s.helper.Close() // a new one starts when it is needed
	err = unix.Exec(path, os.Args, bequestEnviron(will))
	s.helper = newHelper()
	return fmt.Errorf("cannot upgrade the keeper: execve %s: %w", program, err)
}

// quiet returns, with acting locked, when nothing is under way that must not be cut.
func (s *server) quiet() error {
	for deadline := time.Now().Add(upgradeGrace); ; time.Sleep(5 * time.Millisecond) {
		if s.leaving.Load() == 0 && s.acting.TryLock() {
			return nil
		}
		if time.Now().After(deadline) {
			return fault.New(fault.Unavailable, "cannot upgrade the keeper: a start or an end takes long, or a slow client still takes output: try again later")
		}
	}
}

// bequestEnviron is the environment with what only one program is meant to see.
func bequestEnviron(will int) (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, readyEnv+"=") && !strings.HasPrefix(e, bequestEnv+"=") {
			env = append(env, e)
		}
	}
	return append(env, bequestEnv+"="+strconv.Itoa(will))
}

// bequeath collects duplicates of what goes over.
func (s *server) bequeath(dups *[]int) (b *bequest, err error) {
	dup := func(f *os.File) (fd int) {
		if f == nil || err != nil {
			return -1
		}
		raw, cerr := f.SyscallConn()
		if cerr == nil {
			cerr = raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD, readyFD+1) })
		}
		if cerr != nil || err != nil {
			err = errOr(err, cerr)
			return -1
		}
		*dups = append(*dups, fd)
		return fd
	}
	b = &bequest{Lock: dup(s.lock), Listener: dup(s.listener.f)}
	for _, p := range s.all() {
		if p.done() != nil {
			continue
		}
		p.mu.Lock()
		viewers, input := p.viewers, p.stdin
		p.mu.Unlock()
		h := bequeathProcess{ID: p.ID, Generation: p.Generation, Child: p.child, Pidfd: dup(p.pidfd), Input: dup(input)}
		for _, v := range viewers {
			if v.alone.Load() {
				continue // what it has got is in this program's memory
			}
			if raw := dup(v.f); raw >= 0 {
				c := bequeathClient{v.want, raw}
				c.Preread = nil
				h.Clients = append(h.Clients, c)
			}
		}
		b.Processes = append(b.Processes, h)
	}
	if err == nil {
		b.Life, b.Names = s.life, s.networks.tables.All()
		b.Holds, err = s.networks.bequeath(dups)
	}
	return b, err
}

func errOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (b *bequest) write() (fd int, err error) {
	j, err := json.Marshal(b)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.MemfdCreate("bequest", 0); err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	if n, err := unix.Pwrite(fd, j, 0); err != nil || n < len(j) {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot write %d bytes: %w", len(j), errOr(err, io.ErrShortWrite))
	}
	return fd, nil
}

func (b *bequest) descriptors() []int {
	fds := []int{b.Lock, b.Listener}
	for _, p := range b.Processes {
		fds = append(fds, p.Pidfd, p.Input)
		for _, c := range p.Clients {
			fds = append(fds, c.Socket)
		}
	}
	for _, h := range b.Holds {
		fds = append(fds, h.UDP, h.TCP, h.NetNS)
		fds = append(fds, h.Sockets...)
	}
	return fds
}

// accept gives the processes what the program before had of them: called for each
// that was adopted, before it runs.
func (h *bequeathProcess) accept(p *process) {
	p.child = h.Child
	if h.Input >= 0 {
		if p.terminal() {
			p.resumeConsole(h.Input)
		} else {
			p.resumeStdin(h.Input)
		}
	}
	for _, c := range h.Clients {
		f, err := fileOfSocket(c.Socket)
		if err == nil {
			err = p.attach(f, c.attachBody)
		}
		if err != nil {
			p.complain("%v", err)
		}
	}
}

// take is accept for the pidfd, which need not be looked for.
func (h *bequeathProcess) take(p *process) *os.File {
	if h.Pidfd < 0 {
		return nil
	}
	unix.SetNonblock(h.Pidfd, true)
	f := os.NewFile(uintptr(h.Pidfd), "pidfd")
	if inode, err := pidfd.Inode(f); err == nil && inode != p.Inode {
		f.Close()
		return nil
	}
	return f
}
