package epoll_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/epoll"
)

// local makes a socket at a port of the loopback address.
func local(t *testing.T, kind int) (fd int, at unix.Sockaddr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if at, err = unix.Getsockname(fd); err != nil {
		t.Fatal(err)
	}
	return fd, at
}

// TestReceive reads datagrams, cuts what is too long, and ends
// when the file is closed.
func TestReceive(t *testing.T) {
	const datagrams = 150
	fd, at := local(t, unix.SOCK_DGRAM)
	got := make(chan string, datagrams)
	f, err := newSet(t).Add(fd, func(f *epoll.File) bool {
		var buf [4]byte
		return f.Receive(buf[:], func(msg []byte, from unix.Sockaddr) {
			if from == nil {
				t.Error("it is from nobody")
			}
			got <- string(msg)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	client, _ := local(t, unix.SOCK_DGRAM)
	defer unix.Close(client)
	for range datagrams {
		if err := unix.Sendto(client, []byte("12345"), 0, at); err != nil {
			t.Fatal(err)
		}
		if msg := <-got; msg != "1234" {
			t.Fatalf("got %q", msg)
		}
	}
	f.Close()
	if f.Receive(make([]byte, 1), nil) {
		t.Error("a closed file is to be waited for")
	}
}

// TestAccept takes connections, and ends when the socket no longer
// listens.
func TestAccept(t *testing.T) {
	const connections = 100
	fd, at := local(t, unix.SOCK_STREAM)
	if err := unix.Listen(fd, connections); err != nil {
		t.Fatal(err)
	}
	got, ended := make(chan int, connections), make(chan bool, 1)
	f, err := newSet(t).Add(fd, func(f *epoll.File) bool {
		more := f.Accept(func(fd int) { got <- fd })
		if !more {
			ended <- true
		}
		return more
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range connections {
		client, _ := local(t, unix.SOCK_STREAM)
		defer unix.Close(client)
		if err := unix.Connect(client, at); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		unix.Close(<-got)
	}
	f.Use(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) })
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("a socket that does not listen is waited for")
	}
}
