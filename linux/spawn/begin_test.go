package spawn_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
	"hoy/test/rootful"
)

// TestBegin: who listens learns that the program begins, and can keep it from that.
func TestBegin(t *testing.T) {
	rootful.Check(t)
	beginning := func(fd int) (c spawn.Child, err error) {
		s := spawn.New()
		s.Begin()
		s.Call("exec", "/bin/true", unix.SYS_EXECVE, s.Str("/bin/true"), s.Strings(nil), s.Strings(nil))
		plan, err := s.Seal()
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close()
		if fd >= 0 {
			plan.Files[plan.Begin] = os.NewFile(uintptr(fd), "socket")
			defer plan.Files[plan.Begin].Close()
		}
		p, err := spawn.Load(plan.Memfd, plan.Files, [3]*os.File{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Start(patience)
	}
	for _, how := range []string{"nobody listens", "somebody listens", "somebody has shut his end"} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		place, want := fds[1], unix.WaitStatus(0)
		switch how {
		case "nobody listens":
			unix.Close(fds[1])
			place = -1
		case "somebody has shut his end":
			unix.Shutdown(fds[0], unix.SHUT_RD)
			want = unix.WaitStatus(unix.SIGPIPE)
		}
		c, err := beginning(place)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if got := wait(t, c); got != want {
			t.Errorf("%s: it ended with %#x, want %#x", how, got, want)
		}
		n, _, err := unix.Recvfrom(fds[0], make([]byte, 2), unix.MSG_DONTWAIT)
		if heard := err == nil && n == 1; heard != (how == "somebody listens") {
			t.Errorf("%s: heard %d bytes, %v", how, n, err)
		}
		unix.Close(fds[0])
	}
	s := spawn.New()
	s.Begin()
	s.Begin()
	if _, err := s.Seal(); err == nil {
		t.Errorf("a program that begins twice: %v", err)
	}
}
