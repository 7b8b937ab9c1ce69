package pidfd_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/pidfd"
)

// start starts a shell script, which ends when its standard input is closed. Nothing
// but the test reaps it.
func start(t *testing.T, script string) (f *os.File, release func()) {
	t.Helper()
	c := exec.Command("/bin/sh", "-c", "read x; "+script)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	f, err = pidfd.Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); f.Close(); c.Process.Release() })
	return f, func() { in.Close() }
}

func TestWaitAndReap(t *testing.T) {
	for _, tc := range []struct {
		script string
		want   func(unix.WaitStatus) bool
	}{
		{"exit 0", func(s unix.WaitStatus) bool { return s.Exited() && s.ExitStatus() == 0 }},
		{"exit 77", func(s unix.WaitStatus) bool { return s.Exited() && s.ExitStatus() == 77 }},
		{"kill -TERM $$", func(s unix.WaitStatus) bool { return s.Signaled() && s.Signal() == unix.SIGTERM }},
		{"ulimit -c 0; kill -SEGV $$", func(s unix.WaitStatus) bool { return s.Signaled() && s.Signal() == unix.SIGSEGV }},
	} {
		f, release := start(t, tc.script)
		if _, err := pidfd.Reap(f); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("%s: reaping it while it runs: %v", tc.script, err)
		}
		if _, ok, err := pidfd.Exit(f); ok || err != nil {
			t.Errorf("%s: exit status while it runs: %v, %v", tc.script, ok, err)
		}
		release()
		if err := pidfd.Wait(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		got, err := pidfd.Reap(f)
		if err != nil || !tc.want(got) {
			t.Errorf("%s: reaped %#x, %v", tc.script, got, err)
		}
		if _, err := pidfd.Reap(f); !errors.Is(err, unix.ECHILD) {
			t.Errorf("%s: reaping it twice: %v", tc.script, err)
		}
		again, ok, err := pidfd.Exit(f)
		if err != nil || ok && again != got {
			t.Errorf("%s: exit status %#x, %v, %v; reaped %#x", tc.script, again, ok, err, got)
		}
		if err := pidfd.Wait(t.Context(), f); err != nil {
			t.Errorf("%s: waiting after its end: %v", tc.script, err)
		}
		if err := pidfd.Signal(f, unix.SIGTERM); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: signal after its end: %v", tc.script, err)
		}
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	f, release := start(t, "exit 3")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pidfd.Wait(ctx, f) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	release()
	if err := pidfd.Wait(t.Context(), f); err != nil {
		t.Errorf("waiting again: %v", err)
	}
	if s, err := pidfd.Reap(f); err != nil || s.ExitStatus() != 3 {
		t.Errorf("reaped %#x, %v", s, err)
	}
}

func TestSignal(t *testing.T) {
	f, _ := start(t, "exit 0")
	if err := pidfd.Signal(f, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := pidfd.Wait(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if s, err := pidfd.Reap(f); err != nil || s.Signal() != unix.SIGKILL {
		t.Errorf("reaped %#x, %v", s, err)
	}
}

func TestInode(t *testing.T) {
	self, err := pidfd.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	again, err := pidfd.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	other, _ := start(t, "exit 0")
	a, err := pidfd.Inode(self)
	if errors.Is(err, errors.ErrUnsupported) {
		return // before Linux 6.9, which is what the caller has to know
	}
	if err != nil {
		t.Fatal(err)
	}
	if b, err := pidfd.Inode(again); err != nil || a != b {
		t.Errorf("the same process is %d and %d, %v", a, b, err)
	}
	if c, err := pidfd.Inode(other); err != nil || a == c {
		t.Errorf("two processes are %d and %d, %v", a, c, err)
	}
	pidfd.Signal(other, unix.SIGKILL)
	pidfd.Wait(t.Context(), other)
	pidfd.Reap(other)
	if _, err := pidfd.Open(1 << 30); err == nil {
		t.Error("opened a process that is not there")
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pidfd.Wait(t.Context(), f); err == nil {
		t.Error("waited for something that is no process")
	}
	if _, _, err := pidfd.Exit(f); err != nil {
		t.Errorf("exit of something that is no process: %v", err)
	}
}
