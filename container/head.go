package container

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// headPatience is how long a client may take to read the head of its answer.
const headPatience = time.Second

// headRead waits until the client has read what was written to its socket: the head of
// the answer. docker-py, and so Ansible and docker-compose 1, reads the head through a
// buffer and the stream past that buffer: output that comes together with the head is lost
// there. dockerd takes too long to start a process for anybody to have noticed. Only a unix
// socket tells; a client that does not read at all is not waited for any longer.
func headRead(conn *os.File) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	pause := 20 * time.Microsecond
	for deadline := time.Now().Add(headPatience); unread(raw) && time.Now().Before(deadline); {
		time.Sleep(pause)
		pause = min(2*pause, 2*time.Millisecond)
	}
}

// unread tells whether the peer of a unix socket has not read everything yet.
func unread(raw interface{ Control(func(fd uintptr)) error }) bool {
	waiting := 0
	raw.Control(func(fd uintptr) {
		if domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_UNIX {
			waiting, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		}
	})
	return waiting > 0
}
