package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/cgroup"
	"hoy/linux/spawn"
)

// exec prepares "init args..." in a running container.
func (r *running) exec(change func(*Exec), args ...string) (*Prepared, error) {
	b := r.b
	p := *b.spec.Process
	p.Args = append([]string{"init"}, args...)
	e := Exec{Pidfd: r.child.Pidfd, Pid: r.child.Pid, Cgroup: r.group, Process: &p, Seccomp: b.spec.Linux.Seccomp, Stdio: true}
	if b.userNS {
		e.IDs = b.spec.Linux
	}
	if change != nil {
		change(&e)
	}
	return b.rt.PrepareExec(e)
}

// runExec runs "init args..." in a running container and returns its output.
func (r *running) runExec(change func(*Exec), args ...string) (string, error) {
	r.b.t.Helper()
	p, err := r.exec(change, args...)
	if err != nil {
		return "", err
	}
	defer p.Close()
	x := &running{b: r.b, out: make(chan string, 1)}
	if err := launch(r.b.t, p, "", x); err != nil {
		return "", p.Explain(err)
	}
	p.Close() // the terminal ends when nobody has it open
	out, _ := x.wait()
	return strings.TrimSuffix(out, "\n"), nil
}

func (r *running) expectExec(want string, change func(*Exec), args ...string) {
	r.b.t.Helper()
	got, err := r.runExec(change, args...)
	if err != nil {
		r.b.t.Error(err)
	} else {
		r.b.same(want, got)
	}
}

func TestExec(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		r := b.start("hold")
		defer r.kill()
		r.expectExec(strings.Join([]string{
			"box (none)", "0 0 []", "/", "0022",
			"CapPrm: 00000000a80425fb", "CapEff: 00000000a80425fb", "CapBnd: 00000000a80425fb", "Seccomp: 2",
			"mount: operation not permitted",
		}, "\n"), nil, "hostname", ",", "ids", ",", "cwd", ",", "umask", ",", "status", "CapPrm", "CapEff", "CapBnd", "Seccomp", ",", "mount")
	})
}

func TestExecIsInTheContainersNamespaces(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		r := b.start("hold")
		defer r.kill()
		out, err := r.runExec(nil, "ns", "pid", "mnt", "net", "ipc", "uts", "cgroup", "user", ",", "fds")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(out, "\n")
		if len(lines) != 7+3 {
			t.Errorf("more descriptors than three:\n%s", out)
		}
		for _, l := range lines[:7] {
			kind, _, _ := strings.Cut(l, ":")
			if want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", r.child.Pid, kind)); err != nil || l != want {
				t.Errorf("%s, the container's is %s (%v)", l, want, err)
			}
		}
	})
}

func TestExecAsUserInDirectory(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.file("srv/x", "", 0o644)
		r := b.start("hold")
		defer r.kill()
		r.expectExec("/srv\n1000 1001 [7]\nCapEff: 0000000000000000\nwrite /dev/stderr: allowed", func(e *Exec) {
			e.Process.Cwd = "/srv"
			e.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{7}}
			e.Process.Capabilities = &specs.LinuxCapabilities{}
		}, "cwd", ",", "ids", ",", "status", "CapEff", ",", "write", "/dev/stderr", "")
	})
}

func TestErrorsOfAnExec(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.file("bin/text", "echo hello\n", 0o755)
		r := b.start("hold")
		defer r.kill()
		for _, tc := range []struct {
			want   string
			change func(*Exec)
		}{
			{`exec: "nothing": executable file not found in $PATH`, func(e *Exec) { e.Process.Args = []string{"nothing"} }},
			{`exec: "text": exec format error: the file is a script without a first line that names its interpreter (#!)`, func(e *Exec) { e.Process.Args = []string{"text"} }},
			{"cannot enter directory /none: openat2: no such file or directory", func(e *Exec) { e.Process.Cwd = "/none" }},
			{"cannot enter directory /proc/self/fd/5: openat2: too many levels of symbolic links", func(e *Exec) { e.Process.Cwd = "/proc/self/fd/5" }},
			{`the working directory "x" is not absolute`, func(e *Exec) { e.Process.Cwd = "x" }},
			{"no command specified", func(e *Exec) { e.Process.Args = nil }},
			{`"a\x00b" contains a NUL byte`, func(e *Exec) { e.Process.Args = []string{"a\x00b"} }},
		} {
			out, err := r.runExec(tc.change, "ids")
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %q, %v\nwant %s", out, err, tc.want)
			}
		}
	})
}

func TestExecInAnEndedContainer(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		r := b.start("hold")
		p, err := r.exec(nil, "ids")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		r.child.Pidfd, err = reopen(r.child.Pidfd) // kill closes it
		if err != nil {
			t.Fatal(err)
		}
		r.kill()
		x := &running{b: b, out: make(chan string, 1)}
		if err := launch(t, p, "", x); err == nil {
			x.kill()
			t.Error("something was started in a container that has ended")
		} else if want := "cannot join PID namespace: setns: "; !strings.HasPrefix(p.Explain(err).Error(), want) {
			t.Errorf("got %v, want %s…", p.Explain(err), want)
		}
	})
}

// TestExposed says when a child is born in a process without secrets.
func TestExposed(t *testing.T) {
	b := newBox(t, false)
	r := b.start("hold")
	defer r.kill()
	for _, tc := range []struct {
		name    string
		exposed bool
		change  func(*Exec)
	}{
		{"nobody may trace", false, func(e *Exec) { e.ContainerCaps = []string{"CAP_CHOWN"} }},
		{"the container may trace", true, func(e *Exec) { e.ContainerCaps = []string{"CAP_CHOWN", "CAP_SYS_PTRACE"} }},
		{"others see it", true, func(e *Exec) { e.SharedPID = true }},
	} {
		p, err := r.exec(tc.change, "ids")
		if err != nil {
			t.Fatal(err)
		}
		if got := exposed(t, p); got != tc.exposed {
			t.Errorf("%s: exposed = %v", tc.name, got)
		}
		p.Close()
	}
	b.spec.Linux.Namespaces = b.spec.Linux.Namespaces[1:] // the host's PID namespace
	root := b.root()
	defer root.Close()
	b.c.Root = root
	p, err := b.rt.Prepare(b.c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !exposed(t, p) {
		t.Error("a container in the host's PID namespace is not exposed")
	}
	if p.Cgroup != nil {
		p.Abort()
	}
}

func exposed(t *testing.T, p *Prepared) bool {
	t.Helper()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	prog, err := spawn.Load(p.Plan.Memfd, p.Plan.Files, [3]*os.File{null, null, null})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	return prog.Exposed()
}

func TestTerminal(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Process.Terminal = true
		b.spec.Process.ConsoleSize = &specs.Box{Height: 33, Width: 101}
		b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		out := strings.ReplaceAll(b.run("tty", ",", "stat", "/dev/console", "/dev/pts/0", ",", "write", "/dev/console", "hello\n"), "\r", "")
		b.same(strings.Join([]string{
			"0 /dev/pts/0 33 101", "1 /dev/pts/0 33 101", "2 /dev/pts/0 33 101", "controlling terminal",
			"/dev/console 20620 1000:5 136,0", "/dev/pts/0 20620 1000:5 136,0",
			"hello", "write /dev/console: allowed",
		}, "\n"), strings.TrimSuffix(out, "\n"))
	})
}

func TestTerminalOfExec(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		r := b.start("hold")
		defer r.kill()
		out, err := r.runExec(func(e *Exec) {
			e.Process.Terminal = true
			e.Process.ConsoleSize = &specs.Box{Height: 33, Width: 101}
			e.Process.User = specs.User{UID: 1000, GID: 1000}
		}, "tty", ",", "stat", "/dev/pts/0")
		if err != nil {
			t.Fatal(err)
		}
		b.same("0 /dev/pts/0 33 101\n1 /dev/pts/0 33 101\n2 /dev/pts/0 33 101\ncontrolling terminal\n/dev/pts/0 20620 1000:5 136,0",
			strings.TrimSuffix(strings.ReplaceAll(out, "\r", ""), "\n"))
	})
}

// TestTerminalIsNoTrap has a container that put something else where the terminal
// multiplexer should be.
func TestTerminalIsNoTrap(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		for _, trap := range []func(){
			func() {
				b.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/pts/ptmx", Type: "c", Major: 5, Minor: 2}}
			},
			func() { b.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/pts/ptmx", Type: "p"}} },
		} {
			b.spec.Mounts = append(b.spec.Mounts[:2:2], b.spec.Mounts[3:]...) // without devpts
			trap()
			r := b.start("hold")
			_, err := r.runExec(func(e *Exec) { e.Process.Terminal = true }, "ids")
			r.kill()
			if want := "cannot make terminal: the container's /dev/pts/ptmx is not a terminal multiplexer"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			b.spec.Mounts = defaultSpec().Mounts
		}
	})
}

func TestCgroupsOfTheContainer(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Linux.CgroupsPath = fmt.Sprintf("/hoy-runtime-test-%d/box", os.Getpid())
		limit := int64(50)
		b.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
		r := b.start("cat", "/proc/self/cgroup", ",", "cat", "/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max", ",",
			"write", "/sys/fs/cgroup/pids/pids.max", "max", ",", "mkdir", "/sys/fs/cgroup/x")
		out, _ := r.wait()
		for _, l := range strings.Split(out, "\n") {
			if id, _, ok := strings.Cut(l, ":"); ok && len(id) < 3 && !strings.HasSuffix(l, ":/") {
				t.Errorf("a cgroup is visible from outside of the container's namespace: %s", l)
			}
		}
		for _, want := range []string{"\n50\n", "mkdir /sys/fs/cgroup/x: read-only file system"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		if b.rt.cgroups.Mode() != cgroup.V2 && strings.Contains(out, "write /sys/fs/cgroup/pids/pids.max: allowed") {
			t.Errorf("the limit can be changed from inside:\n%s", out)
		}
		b.rt.cgroups.Load(fmt.Sprintf("/hoy-runtime-test-%d", os.Getpid())).Remove()
	})
}

// TestExecInAContainerWithGroups has the container's process in a sub-group that has
// controllers, as an init system in the container makes it: on v2 nothing can be born
// into the container's group itself then.
func TestExecInAContainerWithGroups(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		parent := fmt.Sprintf("/hoy-runtime-test-%d", os.Getpid())
		b.spec.Linux.CgroupsPath = parent + "/box"
		defer b.rt.cgroups.Load(parent).Remove()
		r := b.start("hold")
		defer r.kill()
		want := "/"
		if b.rt.cgroups.Mode() == cgroup.V2 {
			want = "/init.scope"
			dir := filepath.Join("/sys/fs/cgroup", b.spec.Linux.CgroupsPath)
			if err := os.Mkdir(filepath.Join(dir, "init.scope"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "init.scope/cgroup.procs"), fmt.Append(nil, r.child.Pid), 0); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+pids"), 0); err != nil {
				t.Fatal(err)
			}
		}
		out, err := r.runExec(nil, "cat", "/proc/self/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range strings.Split(out, "\n") {
			if strings.Contains(l, ":pids:") || strings.HasPrefix(l, "0::") {
				if !strings.HasSuffix(l, ":"+want) {
					t.Errorf("the exec is in %s, want %s", l, want)
				}
			}
		}
	})
}

// TestLimitsBite runs into the limits of memory, processes and processor time.
func TestLimitsBite(t *testing.T) {
	parent := fmt.Sprintf("/hoy-runtime-test-%d", os.Getpid())
	limited := func(t *testing.T, b *box, l *specs.LinuxResources, args ...string) *running {
		b.spec.Linux.CgroupsPath, b.spec.Linux.Resources = parent+"/box", l
		t.Cleanup(func() { b.rt.cgroups.Load(parent).Remove() })
		return b.start(args...)
	}
	t.Run("memory", func(t *testing.T) {
		memory := int64(32 << 20)
		r := limited(t, newBox(t, false), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory}}, "alloc", "200")
		if out, status := r.wait(); !status.Signaled() || status.Signal() != unix.SIGKILL {
			t.Errorf("it ended with %#x: %s", status, out)
		}
	})
	t.Run("pids", func(t *testing.T) {
		pids := int64(20)
		r := limited(t, newBox(t, true), &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &pids}}, "fork", "100")
		// Threads of the Go runtime count, too, and end it where they are refused.
		if out, _ := r.wait(); !strings.Contains(out, "resource temporarily unavailable") && !strings.Contains(out, "failed to create new OS thread") {
			t.Errorf("it printed %s", out)
		}
	})
	t.Run("cpu", func(t *testing.T) {
		quota, period := int64(5000), uint64(50000)
		b := newBox(t, false)
		r := limited(t, b, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Period: &period}}, "burn", "60000")
		defer r.kill()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			s, err := b.rt.cgroups.Load(parent + "/box").Stats()
			if err != nil {
				t.Fatal(err)
			}
			if s.CPU.Throttled > 2 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("never throttled: %+v", s.CPU)
			}
		}
	})
}

func TestLimitsWithoutCgroup(t *testing.T) {
	b := newBox(t, false)
	b.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{}}
	b.fails("the spec limits resources and names no cgroup", "ids")
}

// TestNothingIsLeftWhenPrepareFails breaks the preparation late.
func TestNothingIsLeftWhenPrepareFails(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) { // newBox checks what is left
		parent := fmt.Sprintf("/hoy-runtime-test-%d", os.Getpid())
		b.spec.Linux.CgroupsPath = parent + "/box"
		b.spec.Process.Terminal = true
		b.spec.Process.Cwd = "/bin/init/no/directory"
		if r, err := b.try("ids"); err == nil {
			r.kill()
			t.Error("it was started")
		}
		b.rt.cgroups.Load(parent).Remove()
	})
}

func TestSignalsAndExitCodes(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		if _, status := b.start("exit", "42").wait(); status.ExitStatus() != 42 {
			t.Errorf("exit 42 gave %#x", status)
		}
		r := b.start("!/bin/init", "hold")
		if err := unix.PidfdSendSignal(int(r.child.Pidfd.Fd()), unix.SIGKILL, nil, 0); err != nil {
			t.Fatal(err)
		}
		if _, status := r.wait(); !status.Signaled() || status.Signal() != unix.SIGKILL {
			t.Errorf("SIGKILL gave %#x", status)
		}
	})
}
