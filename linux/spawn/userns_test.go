package spawn_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/pidfd"
	"hoy/linux/spawn"
	"hoy/test/rootful"
)

// userNamespace makes a user namespace in which 65536 users from 100000 on are.
func userNamespace(t *testing.T) *os.File {
	t.Helper()
	c := exec.Command("/bin/cat")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	c.Wait()
	t.Cleanup(func() { f.Close() })
	return f
}

func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// owner is the inode of the user namespace that owns a process's namespace.
func owner(t *testing.T, pid int, kind string) uint64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return inode(t, fd)
}

var allNamespaces = map[string]uint64{
	"mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "uts": unix.CLONE_NEWUTS,
	"ipc": unix.CLONE_NEWIPC, "net": unix.CLONE_NEWNET, "cgroup": unix.CLONE_NEWCGROUP,
}

// inUserNS is a script for a shell that is root in userns and owns new namespaces.
// Its first call is made as the caller.
func inUserNS(t *testing.T, s *spawn.Script, clone spawn.Clone, script string) {
	t.Helper()
	r, w := pipe(t)
	s.Call("tell", "who the outer child is", unix.SYS_WRITE, s.File(w), s.Str("x"), spawn.Int(1))
	clone.Before = s.Len()
	for _, f := range allNamespaces {
		clone.Flags |= f
	}
	if clone.PIDOf != nil {
		clone.Flags &^= unix.CLONE_NEWPID
	}
	s.SetClone(clone)
	b := s.Bytes(make([]byte, 8))
	got := s.Call("read", "what the outer child wrote", unix.SYS_READ, s.File(r), b, spawn.Int(8))
	s.Call("set", "host name", unix.SYS_SETHOSTNAME, b, got.Result())
	if clone.Exposed {
		lateShell(s, script)
	} else {
		shell(s, script)
	}
}

func TestUserNamespace(t *testing.T) {
	rootful.Check(t)
	userns := userNamespace(t)
	r, w := pipe(t)
	out, in := pipe(t)
	s := spawn.New()
	inUserNS(t, s, spawn.Clone{UserNS: userns}, "id -u; id -G; uname -n; echo $$; grep CapEff /proc/self/status; read x")
	c := start(t, s, [3]*os.File{r, in, in})
	for kind := range allNamespaces {
		if owner(t, c.Pid, kind) != inode(t, int(userns.Fd())) {
			t.Errorf("its %s namespace does not belong to the user namespace", kind)
		}
	}
	if parent := parentOf(t, c.Pid); parent != os.Getpid() {
		t.Errorf("its parent is %d, not this process", parent)
	}
	if _, err := w.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, c); st != 0 {
		t.Errorf("the child ended with %#x", st)
	}
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(buf[:n]), "0\n0\nx\n1\nCapEff:\t000001ffffffffff\n"; got != want {
		t.Errorf("the child says %q, want %q", got, want)
	}
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	p, err := strconv.Atoi(f[1])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestUserNamespaceFailures fails before, at and after the step between the children.
func TestUserNamespaceFailures(t *testing.T) {
	rootful.Check(t)
	userns := userNamespace(t)
	closeBad := func(s *spawn.Script) { s.Call("close", "nothing", unix.SYS_CLOSE, spawn.Int(-1)) }
	ok := func(s *spawn.Script) { s.Call("get", "pid", unix.SYS_GETPID) }
	for _, tc := range []struct {
		want  string
		clone spawn.Clone
		calls []func(*spawn.Script)
	}{
		{"cannot close nothing: close: bad file descriptor", spawn.Clone{UserNS: userns, Before: 2}, []func(*spawn.Script){ok, closeBad, ok}},
		{"cannot close nothing: close: bad file descriptor", spawn.Clone{UserNS: userns, Before: 1}, []func(*spawn.Script){ok, ok, closeBad}},
		{"cannot join user namespace: setns: invalid argument", spawn.Clone{UserNS: testBinary(t)}, []func(*spawn.Script){ok}},
	} {
		s := spawn.New()
		for _, c := range tc.calls {
			c(s)
		}
		s.SetClone(tc.clone)
		plan, p := load(t, s, [3]*os.File{})
		_, err := p.Start(patience)
		var step *spawn.StepError
		if !errors.As(err, &step) {
			t.Fatalf("got %v, want %q", err, tc.want)
		}
		if got := plan.Explain(step).Error(); got != tc.want {
			t.Errorf("explained as %q, want %q", got, tc.want)
		}
	}
}

// TestUserNamespaceWatchdog lets the outer, then the inner child hang.
func TestUserNamespaceWatchdog(t *testing.T) {
	rootful.Check(t)
	userns := userNamespace(t)
	for _, before := range []int{3, 0} {
		s := spawn.New()
		there := hanging(t, s)
		s.SetClone(spawn.Clone{UserNS: userns, Before: before, Flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS})
		plan, p := load(t, s, [3]*os.File{})
		_, err := p.Start(300 * time.Millisecond)
		var step *spawn.StepError
		if !errors.As(err, &step) || !step.Killed {
			t.Fatalf("a child that hangs with %d calls before: %v", before, err)
		}
		if got := plan.Explain(step).Error(); !strings.HasPrefix(got, "cannot read a pipe that stays empty: read: killed") {
			t.Errorf("explained as %q", got)
		}
		if _, err := there.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
}

// TestKilledFromOutside has somebody else kill the outer child: the inner one, which
// shares the memory, must not outlive Start.
func TestKilledFromOutside(t *testing.T) {
	rootful.Check(t)
	s := spawn.New()
	name := func(n string) {
		s.Call("set", "name", unix.SYS_PRCTL, spawn.Int(unix.PR_SET_NAME), s.Str(n))
	}
	name("outer")
	s.SetClone(spawn.Clone{UserNS: userNamespace(t), Before: s.Len()})
	name("inner")
	there := hanging(t, s)
	_, p := load(t, s, [3]*os.File{})
	result := make(chan error, 1)
	go func() {
		_, err := p.Start(patience)
		result <- err
	}()
	if _, err := there.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range children(t) {
		if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(comm) == "outer\n" {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	err := <-result
	var step *spawn.StepError
	if !errors.As(err, &step) || step.Killed || step.Errno != unix.EINTR {
		t.Errorf("got %v", err)
	}
}

// children are the pids of this process's children.
func children(t *testing.T) (pids []int) {
	t.Helper()
	es, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		b, _ := os.ReadFile("/proc/self/task/" + e.Name() + "/children")
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestUserNamespaceOfAnother gives the child the PID namespace of another container.
func TestUserNamespaceOfAnother(t *testing.T) {
	rootful.Check(t)
	userns := userNamespace(t)
	r, w := pipe(t)
	s := spawn.New()
	inUserNS(t, s, spawn.Clone{UserNS: userns}, "read x")
	init := start(t, s, [3]*os.File{r, w, w})

	r2, w2 := pipe(t)
	s = spawn.New()
	inUserNS(t, s, spawn.Clone{UserNS: userns, PIDOf: init.Pidfd}, "read x")
	c := start(t, s, [3]*os.File{r2, w2, w2})
	if namespace(t, strconv.Itoa(c.Pid), "pid") != namespace(t, strconv.Itoa(init.Pid), "pid") {
		t.Error("the child is not in the PID namespace of the other one")
	}
	if f, err := pidfd.Open(c.Pid); err != nil {
		t.Errorf("its pid %d: %v", c.Pid, err)
	} else {
		f.Close()
	}
	for _, f := range []*os.File{w, w2} {
		if _, err := f.WriteString("\n"); err != nil {
			t.Fatal(err)
		}
	}
	if st := wait(t, c); st != 0 && st != unix.WaitStatus(unix.SIGKILL) {
		t.Errorf("the child ended with %#x", st)
	}
	if st := wait(t, init); st != 0 {
		t.Errorf("the first process ended with %#x", st)
	}
}
