package container

import (
	"bufio"
	"io"
	"net"
	"testing"
)

// TestHeadOnTCP reads the head of an answer through a buffer and what follows past it, as
// docker-py does. TCP does not tell whether the head has been read: a busy client may be too
// late all the same, but most are not.
func TestHeadOnTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const times = 20
	go func() {
		for range times {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "head\n")
			headRead(c.(*net.TCPConn))
			io.WriteString(c, "output")
			c.Close()
		}
	}()
	got := 0
	for range times {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(c); string(b) == "output" {
			got++
		}
		c.Close()
	}
	if got < times/2 {
		t.Errorf("%d of %d clients have got the output", got, times)
	}
}
