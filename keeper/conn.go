package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/lib/filelimit"
)

// serve reads requests until the engine goes. Those that may take long are answered
// by goroutines of their own.
func (c *conn) serve() {
	defer c.s.gone(c)
	defer c.Close()
	for {
		msg, fds, err := c.receive()
		if errors.Is(err, errFilesLost) {
			if h, _, perr := parse(msg); perr == nil {
				c.fail(h, err)
				continue
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, os.ErrClosed) {
				fmt.Fprintf(os.Stderr, "hoy-keeper: connection ended: %v\n", err)
			}
			return
		}
		h, body, err := parse(msg)
		if err != nil && h.typ == typeUpgrade && len(msg) > headerSize { // of an engine of another release
			body, err = msg[headerSize:], nil
		}
		if err != nil {
			closeAll(fds)
			c.fail(h, err)
			fmt.Fprintf(os.Stderr, "hoy-keeper: connection ended: %v\n", err)
			return
		}
		c.handle(h, body, fds)
	}
}

// handle answers one request. It owns fds.
func (c *conn) handle(h header, body []byte, fds []int) {
	if h.typ == typeSpawn {
		b := new(spawnBody)
		if err := json.Unmarshal(body, b); err != nil {
			closeAll(fds)
			c.fail(h, fault.New(fault.Invalid, "bad spawn request: %w", err))
			return
		}
		go c.answerSpawn(h, b, fds)
		return
	}
	err := c.answer(h, body, fds)
	if err != nil {
		c.fail(h, err)
	}
}

func (c *conn) answerSpawn(h header, b *spawnBody, fds []int) {
	c.s.acting.RLock()
	defer c.s.acting.RUnlock()
	defer c.s.worked()
	p, err := c.s.spawn(c, b, fds)
	if err != nil {
		c.fail(h, err)
		return
	}
	body, files := p.describe()
	defer closeAll(files)
	c.reply(h, statusOK, body, files)
}

// answer answers what can be answered at once. It owns fds.
func (c *conn) answer(h header, body []byte, fds []int) error {
	used := 0 // of fds
	defer func() { closeAll(fds[used:]) }()
	switch h.typ {
	case typeHello:
		build, _ := c.s.build() // an engine that does not learn it leaves us as we are
		return c.reply(h, statusOK, helloReply{os.Getpid(), build}, nil)
	case typeUpgrade:
		var b upgradeBody
		if err := decode(body, &b); err != nil {
			return err
		}
		return c.s.upgrade(b.Program)
	case typeList:
		return c.list(h)
	case typeAdopt:
		var b adoptBody
		if err := decode(body, &b); err != nil {
			return err
		}
		used = len(fds)
		if err := c.s.handOver(c, &b, fds); err != nil {
			return err
		}
	case typeAttach:
		var b attachBody
		if err := decode(body, &b); err != nil {
			return err
		}
		if len(fds) != 1 {
			return fault.New(fault.Invalid, "attach request has %d descriptors, needs 1", len(fds))
		}
		p, err := c.s.find(b.ID)
		if err != nil {
			return err
		}
		if p.Pid == 0 && p.done() == nil { // adopted, but it never was: its spawn will be repeated
			return fault.New(fault.NotFound, "the keeper holds no process %s", b.ID)
		}
		used = 1
		f, err := fileOfSocket(fds[0])
		if err != nil {
			return err
		}
		if err := p.attach(f, b); err != nil {
			return err
		}
	default:
		if err := c.command(h, body); err != nil {
			return err
		}
	}
	return c.reply(h, statusOK, empty{}, nil)
}

// command does what needs no descriptors and has no answer.
func (c *conn) command(h header, body []byte) error {
	switch h.typ {
	case typeResize:
		var b resizeBody
		if err := decode(body, &b); err != nil {
			return err
		}
		p, err := c.s.find(b.ID)
		if err != nil {
			return err
		}
		return p.resize(b.Rows, b.Cols)
	case typeCloseStdin, typeAck:
		var b idBody
		if err := decode(body, &b); err != nil {
			return err
		}
		if h.typ == typeAck {
			return c.s.acknowledge(b.ID, b.Generation)
		}
		p, err := c.s.find(b.ID)
		if err == nil {
			p.closeStdin()
		}
		return err
	}
	return fault.New(fault.NotImplemented, "the keeper knows no request of type %d", h.typ)
}

// list answers with everything the keeper holds, a few in each message.
func (c *conn) list(h header) error {
	ps := c.s.all()
	for {
		n := min(len(ps), maxFiles/5)
		reply := listReply{Held: []processBody{}}
		var fds []int
		for _, p := range ps[:n] {
			b, files := p.describe()
			reply.Held = append(reply.Held, b)
			fds = append(fds, files...)
		}
		ps = ps[n:]
		err := c.reply(h, statusMore, reply, fds)
		closeAll(fds)
		if err != nil {
			return err
		}
		if len(ps) == 0 {
			return c.listClients(h)
		}
	}
}

// listClients ends the answer to list with the clients of all processes.
func (c *conn) listClients(h header) error {
	var bodies []attachBody
	var fds []int
	defer func() { closeAll(fds) }()
	for _, p := range c.s.all() {
		for _, v := range p.attached() {
			fd, ok := duplicate(v.f)
			if v.want.Client == 0 || !ok {
				continue
			}
			b := v.want
			b.ID, b.Generation, b.Preread = p.ID, p.Generation, nil
			bodies, fds = append(bodies, b), append(fds, fd)
			if len(fds) < listedClients {
				continue
			}
			if err := c.reply(h, statusMore, listReply{Clients: bodies}, fds); err != nil {
				return err
			}
			closeAll(fds)
			bodies, fds = nil, nil
		}
	}
	return c.reply(h, statusOK, listReply{Clients: bodies}, fds)
}

// listedClients is how many clients are in one message: its body has their keys.
const listedClients = 64

// describe gives what the engine gets to know of a process, with duplicates of
// what keeps it from being disturbed when the keeper dies.
func (p *process) describe() (b processBody, fds []int) {
	b = p.info()
	if b.Exit != nil {
		return b, nil
	}
	// Opened anew, because the keeper's own is non-blocking. The process is there as
	// a zombie at least, or the identity of an adopted one is checked by the engine.
	if fd, err := unix.PidfdOpen(p.Pid, 0); err == nil {
		b.HasPidfd = true
		fds = append(fds, fd)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stdin != nil {
		if fd, ok := duplicate(p.stdin); ok {
			b.HasConsole, b.HasStdin = p.terminal(), !p.terminal()
			fds = append(fds, fd)
		}
	}
	if p.terminal() {
		return b, fds
	}
	for _, st := range p.streams {
		if fd, ok := duplicate(st.f); ok {
			b.Outputs++
			fds = append(fds, fd)
		}
	}
	return b, fds
}

func duplicate(f *os.File) (fd int, ok bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	err1 := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, err == nil && err1 == nil
}

func decode(body []byte, to any) error {
	if err := json.Unmarshal(body, to); err != nil {
		return fault.New(fault.Invalid, "bad request: %w", err)
	}
	return nil
}

func (c *conn) reply(h header, status uint32, body any, fds []int) error {
	msg, err := encode(h.typ|isReply, h.seq, status, body)
	if err != nil {
		return err
	}
	return c.send(msg, fds)
}

func (c *conn) fail(h header, err error) {
	status, body := failure(filelimit.Explain("the keeper", err))
	c.reply(h, status, body, nil)
}
