package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"time"

	hoynet "hoy/linux/netlink"
)

// carried is what one turn has found out.
type carried struct {
	gbit                 float64 // Gbit/s of one TCP stream
	exchange, connection float64 // µs of a byte there and back, and of a connection
}

// How long a turn takes, in its parts.
const (
	streaming   = 100 * time.Millisecond
	connections = 40
	exchanges   = 20 // of each connection
)

// blocking takes a connection away from Go's poller, whose wake-ups are no network's.
func blocking(c net.Conn) (*os.File, error) {
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err == nil {
		f.Fd() // has it block
	}
	return f, err
}

// serve answers bytes at port 80 and takes what comes at port 90.
func (c *carrier) serve() (address string, err error) {
	err = hoynet.In(c.to, func() error {
		for port, do := range map[string]func(*os.File){":80": echo, ":90": discard} {
			l, err := net.Listen("tcp4", port)
			if err != nil {
				return err
			}
			go func() {
				for {
					s, err := l.Accept()
					if err != nil {
						return
					}
					if f, err := blocking(s); err == nil {
						go func() { defer f.Close(); do(f) }()
					}
				}
			}()
		}
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if p, ok := a.(*net.IPNet); ok && p.IP.To4() != nil && !p.IP.IsLoopback() {
				address = p.IP.String()
			}
		}
		return err
	})
	return address, err
}

func echo(f *os.File) {
	b := make([]byte, 1)
	for {
		if _, err := f.Read(b); err != nil {
			return
		}
		if _, err := f.Write(b); err != nil {
			return
		}
	}
}

// discard says by a byte that it has all.
func discard(f *os.File) {
	b := make([]byte, 256<<10)
	for {
		n, err := f.Read(b)
		if err != nil {
			return
		}
		if b[n-1] == last {
			f.Write(b[:1])
			return
		}
	}
}

// last ends a stream.
const last = 2

// measured takes a turn on one way.
func measured(from *os.File, echo, discard string) (m carried, err error) {
	dial := func(to string) (f *os.File, err error) {
		err = hoynet.In(from, func() error {
			c, err := net.DialTimeout("tcp4", to, 5*time.Second)
			if err == nil {
				f, err = blocking(c)
			}
			return err
		})
		return f, err
	}
	s, err := dial(discard)
	if err != nil {
		return m, err
	}
	defer s.Close()
	if m.gbit, err = stream(s); err != nil {
		return m, err
	}
	var taken [2][]float64
	for range connections {
		begin := time.Now()
		f, err := dial(echo)
		if err != nil {
			return m, err
		}
		taken[0] = append(taken[0], since(begin))
		err = exchange(f, &taken[1])
		f.Close()
		if err != nil {
			return m, err
		}
	}
	m.connection, m.exchange = median(taken[0]), median(taken[1])
	return m, nil
}

func since(begin time.Time) float64 { return float64(time.Since(begin).Nanoseconds()) / 1e3 }

// stream sends as much as goes, and counts the time until all of it was read.
func stream(s *os.File) (gbit float64, err error) {
	chunk, sent, begin := bytes.Repeat([]byte{1}, 256<<10), 0, time.Now()
	for time.Since(begin) < streaming {
		n, err := s.Write(chunk)
		if err != nil {
			return 0, err
		}
		sent += n
	}
	if _, err := s.Write([]byte{last}); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(s, chunk[:1])
	return float64(sent) * 8 / time.Since(begin).Seconds() / 1e9, err
}

func exchange(f *os.File, taken *[]float64) error {
	b := []byte{1}
	for range exchanges {
		begin := time.Now()
		if _, err := f.Write(b); err != nil {
			return err
		}
		if _, err := f.Read(b); err != nil {
			return err
		}
		*taken = append(*taken, since(begin))
	}
	return nil
}
