package container

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// headPatience is how long a client may take to read the head of its answer.
	headPatience = time.Second
	// ackPatience is the same for a client's kernel to acknowledge it: longer than it may
	// delay that.
	ackPatience = 50 * time.Millisecond
	// wakeTime is what a client is given from then on to wake up and read: TCP does not tell
	// when it has.
	wakeTime = 10 * time.Millisecond
)

// headRead waits until the client has read what was written to its socket: the head of
// the answer. docker-py, and so Ansible and docker-compose 1, reads the head through a
// buffer and the stream past that buffer: output that comes together with the head is lost
// there. dockerd takes too long to start a process for anybody to have noticed. Only a unix
// socket tells; a client that does not read at all is not waited for any longer. Of a client
// on TCP only its kernel is known to have the head: of 200 execs that print one word, 120
// lost it without a pause after that, 15 with no more than the acknowledgement.
func headRead(conn syscall.Conn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	patience, tcp := headPatience, isTCP(raw)
	if tcp {
		patience = ackPatience
	}
	pause := 20 * time.Microsecond
	for deadline := time.Now().Add(patience); unread(raw) && time.Now().Before(deadline); {
		time.Sleep(pause)
		pause = min(2*pause, 2*time.Millisecond)
	}
	if tcp {
		time.Sleep(wakeTime)
	}
}

func isTCP(raw syscall.RawConn) bool {
	domain := 0
	raw.Control(func(fd uintptr) { domain, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN) })
	return domain == unix.AF_INET || domain == unix.AF_INET6
}

// unread tells whether the peer of a unix socket has not read everything yet, or the
// kernel of one on TCP has not acknowledged it.
func unread(raw syscall.RawConn) bool {
	waiting := 0
	raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return waiting > 0
}
