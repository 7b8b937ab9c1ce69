// Command nc stands in for busybox's, which knows no UDP in Debian, and for the machine's,
// which may have none. It knows what moby's tests use of it.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// call is a command line: nc -l[u]p PORT, or nc [-wSECONDS] [-u] HOST PORT.
type call struct {
	listen, udp bool
	port        string // to listen at
	patience    time.Duration
	to          []string // host and port
}

func main() {
	c, err := parse(os.Args[1:])
	switch {
	case err != nil:
	case c.listen && c.udp:
		err = c.receive()
	case c.listen:
		err = c.accept()
	default:
		err = c.send()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nc:", err)
		os.Exit(1)
	}
}

func parse(args []string) (c call, err error) {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-u":
			c.udp = true
		case strings.HasPrefix(a, "-w"):
			if c.patience, err = time.ParseDuration(a[2:] + "s"); err != nil {
				return c, err
			}
		case (a == "-lp" || a == "-lup") && i+1 < len(args):
			c.listen, c.udp = true, a == "-lup"
			i++
			c.port = args[i]
		case strings.HasPrefix(a, "-"):
			return c, errors.New("a stand-in, which does not know " + a)
		default:
			c.to = append(c.to, a)
		}
	}
	if !c.listen && len(c.to) != 2 {
		return c, errors.New("want a host and a port")
	}
	return c, nil
}

// receive prints what comes in datagrams.
func (c call) receive() error {
	conn, err := net.ListenPacket("udp", ":"+c.port)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		os.Stdout.Write(buf[:n])
	}
}

// accept prints what one connection brings.
func (c call) accept() error {
	l, err := net.Listen("tcp", ":"+c.port)
	if err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, conn)
	return err
}

// send sends the standard input, and prints what comes back until that is silent for the
// patience.
func (c call) send() error {
	network := "tcp"
	if c.udp {
		network = "udp"
	}
	conn, err := net.DialTimeout(network, net.JoinHostPort(c.to[0], c.to[1]), max(c.patience, time.Second))
	if err != nil {
		return err
	}
	if _, err := io.Copy(conn, os.Stdin); err != nil {
		return err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	buf := make([]byte, 64<<10)
	for {
		if c.patience > 0 {
			conn.SetReadDeadline(time.Now().Add(c.patience))
		}
		n, err := conn.Read(buf)
		os.Stdout.Write(buf[:n])
		if err != nil {
			return nil // the end, silence, or for UDP that nobody is there
		}
	}
}
