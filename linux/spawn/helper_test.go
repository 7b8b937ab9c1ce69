package spawn_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
	"hoy/test/rootful"
)

func helper(t *testing.T) *spawn.Helper {
	h := spawn.NewHelper("/proc/self/exe", "spawn-helper")
	t.Cleanup(h.Close)
	return h
}

// exposed starts a script through a helper.
func exposed(t *testing.T, h *spawn.Helper, s *spawn.Script, c spawn.Clone, stdio [3]*os.File) spawn.Child {
	t.Helper()
	c.Exposed = true
	s.SetClone(c)
	plan, p := load(t, s, stdio)
	return startBy(t, h, plan, p)
}

func startBy(t *testing.T, h *spawn.Helper, plan *spawn.Plan, p *spawn.Program) spawn.Child {
	t.Helper()
	child, err := h.Start(p, patience)
	if err != nil {
		var step *spawn.StepError
		if errors.As(err, &step) {
			err = plan.Explain(step)
		}
		t.Fatal(err)
	}
	return child
}

func TestHelper(t *testing.T) {
	rootful.Check(t)
	h := helper(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 5 {
				r, w := pipe(t)
				s := spawn.New()
				s.Call("tell", "the test", unix.SYS_WRITE, s.File(w), s.Str("x"), spawn.Int(1))
				lateShell(s, fmt.Sprint("exit ", i))
				c := exposed(t, h, s, spawn.Clone{Flags: unix.CLONE_NEWUTS}, [3]*os.File{r, w, w})
				if parent := parentOf(t, c.Pid); parent != os.Getpid() {
					t.Errorf("the child's parent is %d", parent)
				}
				if st := wait(t, c); st.ExitStatus() != i {
					t.Errorf("the child ended with %#x, not %d", st, i)
				}
			}
		})
	}
	wg.Wait()
	_, p := load(t, spawn.New(), [3]*os.File{})
	c, err := h.Start(p, patience)
	if err != nil {
		t.Fatalf("a program that is not exposed: %v", err)
	}
	wait(t, c)
	_, p = load(t, born(), [3]*os.File{})
	if _, err := p.Start(patience); err == nil {
		t.Error("an exposed program starts without a helper")
	}
}

// born is an exposed script of nothing but the birth.
func born() *spawn.Script {
	s := spawn.New()
	s.Birth()
	s.SetClone(spawn.Clone{Exposed: true})
	return s
}

func TestHelperFailures(t *testing.T) {
	rootful.Check(t)
	h := helper(t)
	for _, tc := range []struct {
		what, want string
		index      int // without the call that hides the frame
		build      func(s *spawn.Script) spawn.Clone
	}{
		{"a program that is not there", "cannot exec /no/such/program: execve: no such file or directory", 3, func(s *spawn.Script) spawn.Clone {
			s.Call("get", "pid", unix.SYS_GETPID)
			s.Birth()
			s.Call("get", "pid", unix.SYS_GETPID)
			s.Call("exec", "/no/such/program", unix.SYS_EXECVE, s.Str("/no/such/program"), s.Strings(nil), s.Strings(nil))
			return spawn.Clone{}
		}},
		{"a call before the birth", "cannot close nothing: close: bad file descriptor", 0, func(s *spawn.Script) spawn.Clone {
			s.Call("close", "nothing", unix.SYS_CLOSE, spawn.Int(-1))
			s.Birth()
			return spawn.Clone{}
		}},
		{"a birth that is refused", "cannot create process: clone: resource temporarily unavailable", 2, func(s *spawn.Script) spawn.Clone {
			s.Call("become", "nobody", unix.SYS_SETRESUID, spawn.Int(54321), spawn.Int(54321), spawn.Int(54321))
			none := s.Words(spawn.Int(0), spawn.Int(0))
			s.Call("limit", "processes", unix.SYS_PRLIMIT64, spawn.Int(0), spawn.Int(unix.RLIMIT_NPROC), none, spawn.Int(0))
			s.Birth()
			return spawn.Clone{}
		}},
		{"a PID namespace that is none", "cannot join PID namespace: setns: invalid argument", 0, func(s *spawn.Script) spawn.Clone {
			s.Birth()
			return spawn.Clone{PIDOf: testBinary(t)}
		}},
		{"a child that ends itself", "", 0, func(s *spawn.Script) spawn.Clone {
			s.Birth()
			return spawn.Clone{}
		}},
	} {
		s := spawn.New()
		clone := tc.build(s)
		clone.Exposed = true
		s.SetClone(clone)
		plan, p := load(t, s, [3]*os.File{})
		c, err := h.Start(p, patience)
		var step *spawn.StepError
		switch {
		case tc.want == "":
			if err != nil {
				t.Errorf("%s: %v", tc.what, err)
			} else if st := wait(t, c); st != 0 {
				t.Errorf("%s: %#x", tc.what, st)
			}
		case !errors.As(err, &step) || step.Index != tc.index+1 || plan.Explain(step).Error() != tc.want:
			t.Errorf("%s: %v, want %q", tc.what, err, tc.want)
		}
	}
}

func TestHelperThatIsNone(t *testing.T) {
	for exe, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file",
		"/bin/true":                        "cannot use spawn helper: ",
	} {
		h := spawn.NewHelper(exe)
		_, p := load(t, born(), [3]*os.File{})
		if _, err := h.Start(p, patience); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", exe, err)
		}
	}
}

// TestHelperDeadline has the intermediate process, and then the child, hang.
func TestHelperDeadline(t *testing.T) {
	rootful.Check(t)
	h := helper(t)
	for name, build := range map[string]func(s *spawn.Script){
		"cannot read a pipe that stays empty: read: ": func(s *spawn.Script) {
			hanging(t, s)
			s.Birth()
		},
		"cannot stop itself: kill: ": func(s *spawn.Script) {
			s.Birth()
			pid := s.Call("get", "pid", unix.SYS_GETPID)
			s.Call("stop", "itself", unix.SYS_KILL, pid.Result(), spawn.Int(int(unix.SIGSTOP)))
		},
	} {
		s := spawn.New()
		build(s)
		s.SetClone(spawn.Clone{Exposed: true})
		plan, p := load(t, s, [3]*os.File{})
		_, err := h.Start(p, 200*time.Millisecond)
		var step *spawn.StepError
		if !errors.As(err, &step) || !step.Killed || !strings.HasPrefix(plan.Explain(step).Error(), name+"killed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHelperUserNamespace(t *testing.T) {
	rootful.Check(t)
	h := helper(t)
	userns := userNamespace(t)
	r, w := pipe(t)
	s := spawn.New()
	inUserNS(t, s, spawn.Clone{UserNS: userns}, "read x")
	init := start(t, s, [3]*os.File{r, w, w})

	r2, w2 := pipe(t)
	s = spawn.New()
	clone := spawn.Clone{UserNS: userns, PIDOf: init.Pidfd, Exposed: true}
	inUserNS(t, s, clone, "read x")
	plan, p := load(t, s, [3]*os.File{r2, w2, w2})
	c := startBy(t, h, plan, p)
	if owner(t, c.Pid, "mnt") != inode(t, int(userns.Fd())) {
		t.Error("its mount namespace does not belong to the user namespace")
	}
	if parent := parentOf(t, c.Pid); parent != os.Getpid() {
		t.Errorf("its parent is %d, not this process", parent)
	}
	unix.Kill(c.Pid, unix.SIGKILL)
	unix.Kill(init.Pid, unix.SIGKILL)
	for _, c := range []spawn.Child{c, init} {
		if st := wait(t, c); st.Signal() != unix.SIGKILL {
			t.Errorf("it ended with %#x", st)
		}
	}
}
