package spawn_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
	_, p := load(t, s, stdio)
	child, err := h.Start(p, patience)
	if err != nil {
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
				shell(s, fmt.Sprint("exit ", i))
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
	s := spawn.New()
	s.SetClone(spawn.Clone{Exposed: true})
	if _, p = load(t, s, [3]*os.File{}); err == nil {
		if _, err := p.Start(patience); err == nil {
			t.Error("an exposed program starts without a helper")
		}
	}
}

func TestHelperFailures(t *testing.T) {
	rootful.Check(t)
	h := helper(t)
	s := spawn.New()
	s.Call("get", "pid", unix.SYS_GETPID)
	s.Call("exec", "/no/such/program", unix.SYS_EXECVE, s.Str("/no/such/program"), s.Strings(nil), s.Strings(nil))
	s.SetClone(spawn.Clone{Exposed: true})
	_, p := load(t, s, [3]*os.File{})
	_, err := h.Start(p, patience)
	var step *spawn.StepError
	if !errors.As(err, &step) || *step != (spawn.StepError{Index: 1, Errno: unix.ENOENT}) {
		t.Errorf("a program that is not there: %v", err)
	}
	s = spawn.New()
	hanging(t, s)
	s.SetClone(spawn.Clone{Exposed: true})
	_, p = load(t, s, [3]*os.File{})
	if _, err = h.Start(p, 200*time.Millisecond); !errors.As(err, &step) || !step.Killed || step.Index != 1 {
		t.Errorf("a child that hangs: %v", err)
	}
	s = spawn.New()
	s.SetClone(spawn.Clone{Exposed: true, PIDOf: testBinary(t)})
	_, p = load(t, s, [3]*os.File{})
	if _, err = h.Start(p, patience); !errors.As(err, &step) || step.Index != spawn.StepJoinPID {
		t.Errorf("into a PID namespace that is none: %v", err)
	}
	none := spawn.NewHelper(filepath.Join(t.TempDir(), "none"))
	s = spawn.New()
	s.SetClone(spawn.Clone{Exposed: true})
	_, p = load(t, s, [3]*os.File{})
	if _, err = none.Start(p, patience); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a helper that is not there: %v", err)
	}
	ends := spawn.NewHelper("/bin/true")
	_, p = load(t, s, [3]*os.File{})
	if _, err = ends.Start(p, patience); err == nil || !strings.Contains(err.Error(), "spawn helper") {
		t.Errorf("a helper that ends: %v", err)
	}
}

// TestHelperSharesNothing looks at a child before its exec, as somebody would who may
// ptrace it: its memory and its descriptors are of no use.
func TestHelperSharesNothing(t *testing.T) {
	rootful.Check(t)
	h := helper(t)
	in, out := pipe(t)
	told, tell := pipe(t)
	s := spawn.New()
	word := s.Bytes([]byte("not yet "))
	s.Call("tell", "parent", unix.SYS_WRITE, s.File(tell), s.Str("x"), spawn.Int(1))
	s.Call("read", "go ahead", unix.SYS_READ, s.File(in), word, spawn.Int(8))
	s.SetClone(spawn.Clone{Exposed: true, Flags: unix.CLONE_NEWPID})
	_, p := load(t, s, [3]*os.File{})
	type result struct {
		c   spawn.Child
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := h.Start(p, patience)
		done <- result{c, err}
	}()
	if _, err := told.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	var child, process int
	for _, pid := range children(t) {
		if strings.HasSuffix(namespace(t, strconv.Itoa(pid), "pid"), strings.TrimPrefix(namespace(t, "self", "pid"), "pid:")) {
			process = pid
		} else {
			child = pid
		}
	}
	if child == 0 || process == 0 {
		t.Fatalf("children: %v", children(t))
	}
	// kcmp(2): KCMP_VM is 1, KCMP_FILES 2
	for kind, name := range map[uintptr]string{1: "memory", 2: "descriptor table"} {
		for _, other := range []int{process, os.Getpid()} {
			if r, _, e := unix.Syscall6(unix.SYS_KCMP, uintptr(child), uintptr(other), kind, 0, 0, 0); e != 0 {
				t.Logf("kcmp: %v", e)
			} else if r == 0 {
				t.Errorf("the child shares its %s with process %d", name, other)
			}
		}
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", child))
	if err != nil || len(fds) == 0 {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, "socket:") {
			t.Errorf("the child has %s, %s", fd, to)
		}
	}
	if _, err := out.WriteString("go ahead"); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	if st := wait(t, r.c); st != 0 {
		t.Errorf("the child ended with %#x", st)
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
	_, p := load(t, s, [3]*os.File{r2, w2, w2})
	c, err := h.Start(p, patience)
	if err != nil {
		t.Fatal(err)
	}
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
