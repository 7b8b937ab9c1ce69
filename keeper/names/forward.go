package names

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"hoy/lib/rawconn"
)

const (
	patience = 1500 * time.Millisecond // with one server, until the next is asked too
	giveUp   = 6 * time.Second         // with all of them; clients ask again after 5 s
)

var errNoServer = errors.New("no server answers")

// exchange asks the servers for the answer to a message, by TCP or UDP as the client did.
// The answer is as it came, but for its number. The first server has some time for itself,
// then the next is asked as well: whoever answers first is believed. A server's refusal is
// the answer if no other has a better one.
func exchange(servers []*server, netns *os.File, msg []byte, tcp bool) ([]byte, error) {
	servers = inOrder(servers)
	if len(servers) == 0 {
		return nil, errNoServer
	}
	if len(servers) == 1 {
		servers = append(servers[:1:1], servers[0]) // a datagram may be lost
	}
	e := &exchanger{netns: netns, msg: msg, tcp: tcp, end: time.Now().Add(giveUp), came: make(chan answer, len(servers))}
	next := time.NewTimer(0)
	defer next.Stop()
	defer e.stop()
	var refusal []byte
	failure, asked, waiting := errNoServer, 0, 0
	for asked < len(servers) || waiting > 0 {
		select {
		case <-next.C:
			if asked < len(servers) {
				e.ask(servers[asked])
				asked, waiting = asked+1, waiting+1
				next.Reset(patience)
			}
		case a := <-e.came:
			waiting--
			if a.err == nil && !refused(a.msg) {
				return a.msg, nil
			}
			if refusal == nil {
				refusal = a.msg
			}
			if a.err != nil {
				failure = a.err
			}
			next.Reset(0)
		}
	}
	if refusal != nil {
		return refusal, nil
	}
	return nil, failure
}

// refused tells of an answer that another server may have a better one.
func refused(msg []byte) bool {
	rcode := dnsmessage.RCode(msg[3] & 0xf)
	return rcode == dnsmessage.RCodeServerFailure || rcode == dnsmessage.RCodeRefused
}

// exchanger is one question, to several servers.
type exchanger struct {
	netns *os.File
	msg   []byte
	tcp   bool
	end   time.Time
	came  chan answer // has room for all
	conns []*os.File
}

type answer struct {
	msg []byte
	err error
}

func (e *exchanger) stop() {
	for _, c := range e.conns {
		c.Close()
	}
}

// ask asks one server. The answer, or why there is none, comes by the channel.
func (e *exchanger) ask(s *server) {
	c, err := dial(s.addr, e.netns, e.tcp)
	if err != nil {
		e.came <- answer{nil, err}
		return
	}
	c.SetDeadline(e.end)
	e.conns = append(e.conns, c)
	// Whatever comes of it: if it takes long, others go first for a while.
	late := time.AfterFunc(patience, func() { s.avoid.Store(time.Now().Add(avoidFor).UnixNano()) })
	go func() {
		msg, err := roundTrip(c, e.msg, e.tcp)
		if err == nil {
			s.avoid.Store(0)
		}
		if err == nil || errors.Is(err, os.ErrClosed) { // another was quicker
			late.Stop()
		}
		e.came <- answer{msg, err}
	}()
}

// roundTrip sends msg with a number of its own, and returns the answer with that of msg.
func roundTrip(c *os.File, msg []byte, tcp bool) ([]byte, error) {
	out := make([]byte, 0, 2+len(msg))
	if tcp {
		out = binary.BigEndian.AppendUint16(out, uint16(len(msg)))
		if err := connected(c); err != nil {
			return nil, err
		}
	}
	id := uint16(rand.Uint32())
	start := len(out)
	out = append(out, msg...)
	binary.BigEndian.PutUint16(out[start:], id)
	if _, err := c.Write(out); err != nil {
		return nil, err
	}
	for {
		var got []byte
		var err error
		if tcp {
			got, err = readMessage(c)
		} else {
			got, err = receive(c)
		}
		if err != nil {
			return nil, err
		}
		if answers(got, out[start:]) {
			copy(got, msg[:2])
			return got, nil
		}
		if tcp {
			return nil, errors.New("the server answers something else")
		}
	}
}

// answers tells whether got is an answer to asked. A socket takes datagrams of the
// server's address only, and has a random port; number and question must agree too
// (RFC 5452). A failure may come without the question.
func answers(got, asked []byte) bool {
	if len(got) < 12 || len(asked) < 12 || got[0] != asked[0] || got[1] != asked[1] || got[2]&0x80 == 0 || got[2]&0x78 != asked[2]&0x78 {
		return false
	}
	switch binary.BigEndian.Uint16(got[4:]) {
	case 0:
		rcode := dnsmessage.RCode(got[3] & 0xf)
		return rcode == dnsmessage.RCodeFormatError || rcode == dnsmessage.RCodeNotImplemented || refused(got)
	case 1:
		end := questionEnd(asked)
		return end > 0 && len(got) >= end && bytes.EqualFold(got[12:end-4], asked[12:end-4]) && bytes.Equal(got[end-4:end], asked[end-4:end])
	}
	return false
}

// questionEnd returns where the question of a query that was parsed ends, 0 if it is not
// written out.
func questionEnd(msg []byte) int {
	for i := 12; i < len(msg); i += 1 + int(msg[i]) {
		if msg[i] >= 64 {
			return 0
		}
		if msg[i] == 0 && i+5 <= len(msg) {
			return i + 5
		}
	}
	return 0
}

// receive returns the next datagram.
func receive(c *os.File) (msg []byte, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var rerr error
	err = rawconn.Read(raw, func(fd uintptr) bool {
		buf := buffers.Get().(*[maxTCP]byte) // not while it waits
		defer buffers.Put(buf)
		var n int
		if n, _, rerr = unix.Recvfrom(int(fd), buf[:], unix.MSG_DONTWAIT); rerr == nil {
			msg = slices.Clone(buf[:n])
		}
		return rerr != unix.EAGAIN && rerr != unix.EINTR
	})
	return msg, errors.Join(err, rerr)
}
