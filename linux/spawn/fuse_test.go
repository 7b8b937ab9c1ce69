package spawn_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// silentFUSE mounts a file system whose server says that it is there, and never
// answers when a file is looked for. asked gets a word for each such question; abort
// ends the file system.
func silentFUSE(t *testing.T) (dir string, asked <-chan struct{}, abort func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("cannot open /dev/fuse: %v", err)
	}
	dir = t.TempDir()
	if err := unix.Mount("silent", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Fatalf("cannot mount: %v", err)
	}
	questions := make(chan struct{}, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer unix.Close(fd)
		b := make([]byte, 1<<17)
		for {
			n, err := unix.Read(fd, b)
			if err == unix.ENODEV || n < 40 && err == nil {
				return
			}
			if err == nil {
				answer(fd, b, questions)
			}
		}
	}()
	abort = func() {
		unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
		<-ended
	}
	return dir, questions, abort
}

// answer answers FUSE_INIT and FUSE_GETATTR (of the root directory): fuse(4).
func answer(fd int, in []byte, lookups chan<- struct{}) {
	le := binary.LittleEndian
	const lookup, getattr, initialize = 1, 3, 26
	var body []byte
	switch le.Uint32(in[4:]) {
	case initialize: // struct fuse_init_out
		body = make([]byte, 64)
		le.PutUint32(body, 7)
		le.PutUint32(body[4:], 31)
		le.PutUint32(body[20:], 4096)
	case getattr: // struct fuse_attr_out
		body = make([]byte, 16+88)
		le.PutUint64(body, 3600)
		le.PutUint64(body[16:], 1)
		le.PutUint32(body[16+60:], unix.S_IFDIR|0o755)
		le.PutUint32(body[16+64:], 2)
	case lookup:
		lookups <- struct{}{}
		return
	default:
		return
	}
	head := le.AppendUint32(nil, uint32(16+len(body)))
	head = le.AppendUint32(head, 0)
	head = append(head, in[8:16]...)
	unix.Write(fd, append(head, body...))
}

// TestSilentFileSystem executes from a file system that never answers. The kernel does
// not let such a child die before the file system ends; nobody waits for it.
func TestSilentFileSystem(t *testing.T) {
	rootful.Check(t)
	dir, asked, abort := silentFUSE(t)
	program := filepath.Join(dir, "program")
	h := helper(t)
	for _, exposed := range []bool{false, true} {
		s := spawn.New()
		if exposed {
			s.Birth()
		}
		s.Call("exec", program, unix.SYS_EXECVE, s.Str(program), s.Strings([]string{"program"}), s.Strings(nil))
		s.SetClone(spawn.Clone{Exposed: exposed})
		_, p := load(t, s, [3]*os.File{})
		result := make(chan error, 1)
		go func() {
			_, err := h.Start(p, 300*time.Millisecond)
			result <- err
		}()
		if !exposed { // the second one waits for the first one's answer
			<-asked
		}
		if got := output(t, spawn.New(), "echo on"); got != "on\n" {
			t.Errorf("beside a hanging child another says %q", got)
		}
		var step *spawn.StepError
		select {
		case err := <-result:
			if !errors.As(err, &step) || !step.Killed {
				t.Errorf("exposed %v: %v", exposed, err)
			}
		case <-time.After(patience):
			t.Errorf("exposed %v: the start does not end", exposed)
		}
	}
	abort()
	if !eventually.Is(func() bool { return len(children(t)) == 0 }) {
		t.Errorf("children are left: %v", children(t))
	}
}
