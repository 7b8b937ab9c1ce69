package spawn_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/pidfd"
	"hoy/linux/spawn"
	"hoy/test/rootful"
)

// patience is a deadline that only a broken spawn reaches.
const patience = 30 * time.Second

// load seals and loads a script.
func load(t testing.TB, s *spawn.Script, stdio [3]*os.File) (*spawn.Plan, *spawn.Program) {
	t.Helper()
	plan, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plan.Close() })
	p, err := spawn.Load(plan.Memfd, plan.Files, stdio)
	if err != nil {
		t.Fatal(err)
	}
	return plan, p
}

// start starts a script that must exec.
func start(t testing.TB, s *spawn.Script, stdio [3]*os.File) spawn.Child {
	t.Helper()
	plan, p := load(t, s, stdio)
	c, err := p.Start(patience)
	if err != nil {
		var step *spawn.StepError
		if errors.As(err, &step) {
			err = plan.Explain(step)
		}
		t.Fatal(err)
	}
	return c
}

// wait reaps a child.
func wait(t testing.TB, c spawn.Child) unix.WaitStatus {
	t.Helper()
	defer c.Pidfd.Close()
	if err := pidfd.Wait(t.Context(), c.Pidfd); err != nil {
		t.Fatal(err)
	}
	s, err := pidfd.Reap(c.Pidfd)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shell appends what it takes to run a shell script with the standard descriptors.
func shell(s *spawn.Script, script string) {
	connect(s)
	execShell(s, script)
}

// lateShell is shell for a child that is exposed.
func lateShell(s *spawn.Script, script string) {
	connect(s)
	s.Birth()
	execShell(s, script)
}

func connect(s *spawn.Script) {
	for i := range 3 {
		s.Call("connect", fmt.Sprint("descriptor ", i), unix.SYS_DUP3, s.Stdio(i), spawn.Int(i), spawn.Int(0))
	}
	s.Call("close", "other descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(3), spawn.Uint(1<<32-1), spawn.Int(0))
}

func execShell(s *spawn.Script, script string) {
	s.Call("exec", "/bin/sh", unix.SYS_EXECVE, s.Str("/bin/sh"),
		s.Strings([]string{"sh", "-c", script}), s.Strings([]string{"PATH=/usr/bin:/bin"}))
}

// output runs a script whose last calls are shell's and returns what that printed.
func output(t testing.TB, s *spawn.Script, script string) string {
	t.Helper()
	shell(s, script)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	c := start(t, s, [3]*os.File{null, w, w})
	w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if st := wait(t, c); st != 0 {
		t.Errorf("the child ended with %#x", st)
	}
	return string(out)
}

func TestStart(t *testing.T) {
	rootful.Check(t)
	s := spawn.New()
	s.Call("set", "host name", unix.SYS_SETHOSTNAME, s.Str("cog"), spawn.Int(3))
	s.SetClone(spawn.Clone{Flags: unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP})
	if got := output(t, s, "uname -n; echo $$"); got != "cog\n1\n" {
		t.Errorf("the child says %q", got)
	}
}

// TestSignals sees a child without any trace of its parent's signal handling.
func TestSignals(t *testing.T) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGUSR1)
	signal.Ignore(syscall.SIGWINCH)
	status := output(t, spawn.New(), "exec cat /proc/self/status")
	for _, want := range []string{"SigBlk", "SigIgn", "SigCgt"} {
		if want += ":\t0000000000000000\n"; !strings.Contains(status, want) {
			t.Errorf("the child has not %q:\n%s", want, status)
		}
	}
	// and the parent's thread has its own mask back
	var mask unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &mask); err != nil {
		t.Fatal(err)
	}
	if mask.Val[0] != 0 {
		t.Errorf("the parent's thread blocks %#x", mask.Val[0])
	}
}

func TestFailingStep(t *testing.T) {
	s := spawn.New()
	s.Call("set", "umask", unix.SYS_UMASK, spawn.Int(0o22))
	s.Call("exec", "/no/such/program", unix.SYS_EXECVE, s.Str("/no/such/program"), s.Strings(nil), s.Strings(nil))
	plan, p := load(t, s, [3]*os.File{})
	_, err := p.Start(patience)
	var step *spawn.StepError
	if !errors.As(err, &step) || *step != (spawn.StepError{Index: 1, Errno: unix.ENOENT}) {
		t.Fatalf("got %v", err)
	}
	if got, want := plan.Explain(step).Error(), "cannot exec /no/such/program: execve: no such file or directory"; got != want {
		t.Errorf("explained as %q, want %q", got, want)
	}
	s = spawn.New()
	s.SetClone(spawn.Clone{Cgroup: testBinary(t)})
	_, p = load(t, s, [3]*os.File{})
	if _, err = p.Start(patience); !errors.As(err, &step) || step.Index != spawn.StepClone || step.Errno != unix.EBADF {
		t.Errorf("into a cgroup that is none: %v", err)
	}
	s = spawn.New()
	s.SetClone(spawn.Clone{PIDOf: testBinary(t)})
	_, p = load(t, s, [3]*os.File{})
	if _, err = p.Start(patience); !errors.As(err, &step) || step.Index != spawn.StepJoinPID || step.Errno != unix.EINVAL {
		t.Errorf("into a PID namespace that is none: %v", err)
	}
}

// TestManyThreads starts children from many goroutines while garbage is collected
// all the time, and leaves no descriptor and no child.
func TestManyThreads(t *testing.T) {
	rootful.Check(t)
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	defer collector.Wait()
	defer close(stop)
	const goroutines, each = 20, 50
	plan := sealTrue(t)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				p, err := spawn.Load(plan.Memfd, plan.Files, [3]*os.File{})
				if err != nil {
					t.Error(err)
					return
				}
				c, err := p.Start(patience)
				if err != nil {
					t.Error(err)
					return
				}
				if s := wait(t, c); s != 0 {
					t.Errorf("/bin/true ended with %#x", s)
				}
			}
		})
	}
	wg.Wait()
}

func sealTrue(t testing.TB) *spawn.Plan {
	t.Helper()
	s := spawn.New()
	s.Call("exec", "/bin/true", unix.SYS_EXECVE, s.Str("/bin/true"), s.Strings([]string{"true"}), s.Strings(nil))
	plan, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plan.Close() })
	return plan
}

// hanging returns a script whose child says that it is there and then reads from
// in, which nobody writes to, before its exec.
func hanging(t *testing.T, s *spawn.Script) (there *os.File) {
	t.Helper()
	in, _ := pipe(t)
	r, w := pipe(t)
	s.Call("tell", "parent", unix.SYS_WRITE, s.File(w), s.Str("x"), spawn.Int(1))
	s.Call("read", "a pipe that stays empty", unix.SYS_READ, s.File(in), s.Bytes(make([]byte, 8)), spawn.Int(1))
	s.Call("exec", "/bin/true", unix.SYS_EXECVE, s.Str("/bin/true"), s.Strings(nil), s.Strings(nil))
	return r
}

// pipe is a pipe that blocks, as a child expects it.
func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fd[0]), "pipe"), os.NewFile(uintptr(fd[1]), "pipe")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// TestWatchdog lets children hang, one of them stopped, and sees them killed, while
// nothing else in the process waits for them: garbage is collected, and others start.
func TestWatchdog(t *testing.T) {
	rootful.Check(t)
	for _, stopped := range []bool{false, true} {
		s := spawn.New()
		there := hanging(t, s)
		if stopped {
			s = spawn.New()
			pid := s.Call("get", "pid", unix.SYS_GETPID)
			s.Call("stop", "itself", unix.SYS_KILL, pid.Result(), spawn.Int(int(unix.SIGSTOP)))
			there = hanging(t, s)
		}
		plan, p := load(t, s, [3]*os.File{})
		told := make(chan struct{})
		p.OnTimeout = func() { close(told) }
		result := make(chan error, 1)
		go func() {
			_, err := p.Start(500 * time.Millisecond)
			result <- err
		}()
		if !stopped {
			if _, err := there.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			runtime.GC()
			if got := output(t, spawn.New(), "echo on"); got != "on\n" {
				t.Errorf("beside a hanging child another says %q", got)
			}
		}
		err := <-result
		var step *spawn.StepError
		if !errors.As(err, &step) || !step.Killed || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a hanging child: %v", err)
		}
		want := "cannot read a pipe that stays empty: read: killed"
		if stopped {
			want = "cannot stop itself: kill: killed"
		}
		if got := plan.Explain(step).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("explained as %q, want %q", got, want)
		}
		<-told
	}
}

// TestHeldCollector would deadlock if a garbage collection waited for a child that
// has not exec'ed: the child waits for one.
func TestHeldCollector(t *testing.T) {
	in, out := pipe(t)
	s := spawn.New()
	s.Call("wait", "for a collection", unix.SYS_READ, s.File(in), s.Bytes(make([]byte, 8)), spawn.Int(1))
	s.Call("exec", "/bin/true", unix.SYS_EXECVE, s.Str("/bin/true"), s.Strings([]string{"true"}), s.Strings(nil))
	_, p := load(t, s, [3]*os.File{})
	done := make(chan spawn.Child, 1)
	go func() {
		c, err := p.Start(patience)
		if err != nil {
			t.Error(err)
		}
		done <- c
	}()
	for range 10 {
		runtime.GC()
	}
	if _, err := out.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if s := wait(t, <-done); s != 0 {
		t.Errorf("the child ended with %#x", s)
	}
}

// TestJoinPIDNamespace starts a child in the PID namespace of a running one, as exec
// does, while others go to the parent's own.
func TestJoinPIDNamespace(t *testing.T) {
	rootful.Check(t)
	r, w := pipe(t)
	s := spawn.New()
	shell(s, "read x; exit 0")
	s.SetClone(spawn.Clone{Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS})
	init := start(t, s, [3]*os.File{r, w, w})

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				in := spawn.New()
				in.SetClone(spawn.Clone{PIDOf: init.Pidfd})
				in.Call("join", "namespaces", unix.SYS_SETNS, in.File(init.Pidfd), spawn.Int(unix.CLONE_NEWNS))
				// The mount namespace still has the outer /proc, so sh's own words.
				got := strings.TrimSpace(output(t, in, "echo $$"))
				if len(got) > 3 || got == "1" {
					t.Errorf("the child is process %s of its PID namespace", got)
				}
				own := spawn.New()
				if got := strings.TrimSpace(output(t, own, "readlink /proc/self/ns/pid")); got != namespace(t, "self", "pid") {
					t.Errorf("the next child is in PID namespace %s", got)
				}
			}
		})
	}
	wg.Wait()
	if _, err := w.WriteString("x\n"); err != nil {
		t.Fatal(err)
	}
	if s := wait(t, init); s != 0 {
		t.Errorf("the first process ended with %#x", s)
	}
}

func namespace(t testing.TB, pid, kind string) string {
	t.Helper()
	to, err := os.Readlink("/proc/" + pid + "/ns/" + kind)
	if err != nil {
		t.Fatal(err)
	}
	return to
}
