package spawn_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
)

var update = flag.Bool("update", false, "write the golden files")

// example uses everything a plan can hold. Its call numbers are not real ones, so
// that it is the same on every architecture.
func example() *spawn.Script {
	s := spawn.New()
	s.Call("join", "cgroup", 1, s.File(os.Stdin), s.Str("0"), spawn.Int(1))
	open := s.Call("open", "/proc/self", 2, spawn.Int(-100), s.Str("/proc/self")).Ignore(unix.ENOENT, unix.ENOTDIR).SkipOnIgnored(1)
	s.Call("mount", "/x", 3, open.Result(), s.Stdio(1), s.Words(spawn.Uint(7), s.Bytes([]byte{1, 2, 3}), s.File(os.Stdout)))
	s.Call("exec", "/bin/true", 4, s.Str("/bin/true"), s.Strings([]string{"true", "0"}), s.Strings(nil))
	s.SetClone(spawn.Clone{Flags: unix.CLONE_NEWNS, Cgroup: os.Stdout, PIDOf: os.Stderr})
	return s
}

// exposedExample has what only exposed plans have.
func exposedExample() *spawn.Script {
	s := example()
	s.Birth()
	s.Call("exec", "/bin/false", 4, s.Str("/bin/false"))
	s.SetClone(spawn.Clone{PIDOf: os.Stderr, UserNS: os.Stdin, Exposed: true})
	return s
}

func TestPlanGolden(t *testing.T) {
	b, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got := []byte(hex.Dump(b))
	golden := filepath.Join("testdata", "example.golden")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the plan's bytes changed; if they should, raise the version and run with -update. Got:\n%s", got)
	}
	if err := spawn.Check(b, 3); err != nil {
		t.Errorf("Load refuses it: %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	other := spawn.New()
	for range 3 {
		other.Call("a", "b", 1)
	}
	later := other.Call("a", "later", 1)
	for _, tc := range []struct {
		want  string
		build func(s *spawn.Script)
	}{
		{"7 arguments", func(s *spawn.Script) { s.Call("a", "b", 1, make([]spawn.Arg, 7)...) }},
		{"cannot ignore errno 110", func(s *spawn.Script) { s.Call("a", "b", 1).Ignore(unix.ETIMEDOUT) }},
		{"skips 1 calls", func(s *spawn.Script) { s.Call("a", "b", 1).SkipOnIgnored(1) }},
		{"skips -1 calls", func(s *spawn.Script) { s.Call("a", "b", 1).SkipOnIgnored(-1) }},
		{"not before it", func(s *spawn.Script) { s.Call("a", "b", 1, later.Result()) }},
		{"result cannot be a word", func(s *spawn.Script) { s.Words(s.Call("a", "b", 1).Result()) }},
		{"no standard descriptor 3", func(s *spawn.Script) { s.Stdio(3) }},
		{"no file", func(s *spawn.Script) { s.File(nil) }},
		{"clone flags", func(s *spawn.Script) { s.SetClone(spawn.Clone{Flags: unix.CLONE_NEWUSER}) }},
		{"0 births", func(s *spawn.Script) { s.SetClone(spawn.Clone{Exposed: true}) }},
		{"1 births", func(s *spawn.Script) { s.Birth() }},
		{"2 births", func(s *spawn.Script) { s.Birth(); s.Birth(); s.SetClone(spawn.Clone{Exposed: true}) }},
		{"uses a descriptor after", func(s *spawn.Script) {
			s.Birth()
			s.Call("a", "b", 1, s.File(os.Stdin))
			s.SetClone(spawn.Clone{Exposed: true})
		}},
		{"skips the child's birth", func(s *spawn.Script) {
			s.Call("a", "b", 1).SkipOnIgnored(1)
			s.Birth()
			s.Call("a", "c", 1)
			s.SetClone(spawn.Clone{Exposed: true})
		}},
		{"before it has joined", func(s *spawn.Script) {
			s.Birth()
			s.SetClone(spawn.Clone{Exposed: true, UserNS: os.Stdin, Before: 1})
		}},
		{"of its own is not exposed", func(s *spawn.Script) {
			s.Birth()
			s.SetClone(spawn.Clone{Exposed: true, Flags: unix.CLONE_NEWPID})
		}},
		{"there is none", func(s *spawn.Script) { s.SetClone(spawn.Clone{Before: 1}) }},
		{"2 calls before", func(s *spawn.Script) { s.SetClone(spawn.Clone{Before: 2, UserNS: os.Stdin}) }},
		{"skips out of the calls before", func(s *spawn.Script) {
			s.Call("a", "b", 1).SkipOnIgnored(1)
			s.Call("a", "c", 1)
			s.SetClone(spawn.Clone{Before: 1, UserNS: os.Stdin})
		}},
		{"argument list too long", func(s *spawn.Script) { s.Bytes(make([]byte, spawn.MaxSize)) }},
		{"251 descriptors", func(s *spawn.Script) {
			for range 251 {
				s.File(new(os.File))
			}
		}},
		{"16385 calls", func(s *spawn.Script) {
			for range spawn.MaxCalls + 1 {
				s.Call("a", "b", 1)
			}
		}},
	} {
		s := spawn.New()
		tc.build(s)
		_, err := s.Seal()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}

func TestExplain(t *testing.T) {
	s := spawn.New()
	s.Call("mount", "/proc", unix.SYS_MOUNT)
	s.Call("exec", "/bin/nothing", unix.SYS_EXECVE)
	s.Call("start", "", 9999)
	p, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, tc := range []struct {
		in   spawn.StepError
		want string
		is   error
	}{
		{spawn.StepError{Index: 0, Errno: unix.EPERM}, "cannot mount /proc: mount: operation not permitted", os.ErrPermission},
		{spawn.StepError{Index: 1, Errno: unix.ENOENT}, "cannot exec /bin/nothing: execve: no such file or directory", os.ErrNotExist},
		{spawn.StepError{Index: 2, Errno: unix.EIO}, "cannot start: system call 9999: input/output error", unix.EIO},
		{spawn.StepError{Index: 1, Killed: true}, "cannot exec /bin/nothing: execve: killed, not done in time: i/o timeout", os.ErrDeadlineExceeded},
		{spawn.StepError{Index: spawn.StepClone, Errno: unix.EAGAIN}, "cannot create process: clone3: resource temporarily unavailable", unix.EAGAIN},
		{spawn.StepError{Index: spawn.StepJoinPID, Errno: unix.ESRCH}, "cannot join PID namespace: setns: no such process", unix.ESRCH},
		{spawn.StepError{Index: 77, Errno: unix.EIO}, "cannot run a spawn script: call 77 of the spawn script: input/output error", unix.EIO},
	} {
		err := p.Explain(&tc.in)
		if err.Error() != tc.want || !errors.Is(err, tc.is) {
			t.Errorf("%+v: %v, want %q", tc.in, err, tc.want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, s := range []*spawn.Script{example(), exposedExample()} {
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := spawn.Check(bytes.Clone(b), 3); err != nil {
			t.Fatal(err)
		}
		loadRefuses(t, b)
	}
}

// loadRefuses changes a good plan with three files.
func loadRefuses(t *testing.T, b []byte) {
	t.Helper()
	for off := range b {
		// Whatever a byte is changed to, check must not panic; and a shorter or
		// longer plan is none.
		for _, v := range []byte{0, 1, 0x7f, 0xff} {
			c := bytes.Clone(b)
			c[off] = v
			spawn.Check(c, 3)
		}
		if spawn.Check(bytes.Clone(b[:off]), 3) == nil {
			t.Fatalf("the first %d bytes pass", off)
		}
	}
	if spawn.Check(append(bytes.Clone(b), 0), 3) == nil {
		t.Error("a byte too many passes")
	}
	for _, n := range []int{0, 2, 4, 251} {
		if spawn.Check(bytes.Clone(b), n) == nil {
			t.Errorf("%d files pass for 3", n)
		}
	}
}

func TestLoadWantsSeals(t *testing.T) {
	b, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "plan"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	if _, err := spawn.Load(f, files, [3]*os.File{nil, os.Stdout}); err == nil || !strings.Contains(err.Error(), "not sealed") {
		t.Errorf("a file that can change: %v", err)
	}
	p, err := example().Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := spawn.Load(p.Memfd, p.Files, [3]*os.File{}); err == nil || !strings.Contains(err.Error(), "descriptor") {
		t.Errorf("without the standard descriptor it uses: %v", err)
	}
	if _, err := p.Memfd.WriteAt([]byte{0}, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("writing to a sealed plan: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []*spawn.Script{example(), exposedExample()} {
		if b, err := s.Encode(); err == nil {
			f.Add(b, 3)
		}
	}
	s := spawn.New()
	s.Call("before", "", 1)
	s.Call("after", "", 1)
	s.SetClone(spawn.Clone{UserNS: os.Stdin, Before: 1})
	if b, err := s.Encode(); err == nil {
		f.Add(b, 1)
	}
	f.Fuzz(func(t *testing.T, b []byte, files int) {
		if files < 0 || files > 300 {
			return
		}
		spawn.Check(b, files)
	})
}
