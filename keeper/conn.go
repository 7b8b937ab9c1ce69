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
	defer c.parts.drop()
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
		return c.reply(h, statusOK, helloReply{os.Getpid(), build, c.s.life}, nil)
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
	case typeHold:
		used = len(fds)
		if err := c.hold(body, fds); err != nil {
			return err
		}
	case typeHolds:
		return c.listHolds(h)
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
		if p.Pid == 0 && !p.begun.Load() && p.done() == nil { // adopted, but it never was: its spawn will be repeated
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
	case typeNames:
		var b namesBody
		if err := decode(body, &b); err != nil {
			return err
		}
		return c.names(&b)
	case typeRelease:
		var b idBody
		if err := decode(body, &b); err != nil {
			return err
		}
		c.s.acting.RLock()
		defer c.s.acting.RUnlock()
		c.s.networks.release(b.ID, b.Generation)
		return nil
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
