package keeper

import (
	"os"

	"golang.org/x/sys/unix"
)

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
			if v.want.Client == 0 || v.alone.Load() {
				continue // nobody is to keep it, and it was told to let it go
			}
			fd, ok := duplicate(v.f)
			if !ok {
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

// portsListed is how many ports are in one message of listHolds.
const portsListed = 500

// listHolds answers with what is held of networks, so much in each message as it has room
// for. Of a hold with many ports there are several, each with some of them.
func (c *conn) listHolds(h header) error {
	var some []HeldNetwork
	ports := 0
	for _, n := range c.s.networks.list() {
		for all := n.Ports; ; {
			n.Ports = all[:min(len(all), portsListed-ports)]
			all = all[len(n.Ports):]
			some, ports = append(some, n), ports+len(n.Ports)
			if len(some) < holdsListed && ports < portsListed {
				break
			}
			if err := c.reply(h, statusMore, holdsReply{some}, nil); err != nil {
				return err
			}
			if some, ports = nil, 0; len(all) == 0 {
				break
			}
		}
	}
	return c.reply(h, statusOK, holdsReply{some}, nil)
}

// holdsListed is how many holds are in one message.
const holdsListed = 200

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
