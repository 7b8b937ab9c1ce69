package runtime

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/caps"
	"hoy/linux/cgroup"
	"hoy/linux/idmap"
	"hoy/linux/mount"
	"hoy/linux/pidfd"
	"hoy/linux/seccomp"
	"hoy/linux/spawn"
	"hoy/test/init/build"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "spawn-helper" {
		os.Exit(spawn.HelperMain())
	}
	os.Exit(rootful.Main(m))
}

// first is the host's id of the container's root in the mode with a user namespace.
const first = 100000

var testMap = &idmap.Map{
	UIDs: []idmap.Range{{Inside: 0, Outside: first, Size: 65536}},
	GIDs: []idmap.Range{{Inside: 0, Outside: first, Size: 65536}},
}

// inBothModes runs a test with the host's users and with a user namespace.
func inBothModes(t *testing.T, f func(t *testing.T, b *box)) {
	t.Helper()
	for _, mode := range []string{"host-user", "user-ns"} {
		t.Run(mode, func(t *testing.T) { f(t, newBox(t, mode == "user-ns")) })
	}
}

// box is a container in the making: tests change its spec and then run it.
type box struct {
	t      testing.TB
	rt     *Runtime
	userNS bool
	lower  string // what the image holds, files to be put there before the run
	upper  string
	spec   *specs.Spec
	c      Container
	stdin  string
}

func newBox(t testing.TB, userNS bool) *box {
	rootful.Check(t)
	b := &box{t: t, userNS: userNS}
	b.rt = newRuntime(t)
	dir := t.TempDir()
	b.lower, b.upper = filepath.Join(dir, "lower"), filepath.Join(dir, "upper")
	for _, d := range []string{"lower/bin", "lower/tmp", "lower/proc", "lower/sys", "lower/dev", "lower/etc", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.copy(build.Init(t), "bin/init")
	b.spec = defaultSpec()
	b.c = Container{ID: "box", Spec: b.spec, Stdio: true}
	if userNS {
		user, net, err := idmap.NewPair(testMap)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { user.Close(); net.Close() })
		b.c.UserNS, b.c.NetNS = user, net
		m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: first, Size: 65536}}
		b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = m, m
	}
	return b
}

func newRuntime(t testing.TB) *Runtime {
	h, err := cgroup.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	rt, err := New(Config{Cgroups: h, InitPath: build.Init(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.Close)
	return rt
}

// copy puts a file of the host into the image.
func (b *box) copy(from, to string) {
	b.t.Helper()
	c, err := os.ReadFile(from)
	if err != nil {
		b.t.Fatal(err)
	}
	b.file(to, string(c), 0o755)
}

// file puts a file into the image.
func (b *box) file(path, content string, mode os.FileMode) {
	b.t.Helper()
	p := filepath.Join(b.lower, path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), mode); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) link(path, to string) {
	b.t.Helper()
	if err := os.Symlink(to, filepath.Join(b.lower, path)); err != nil {
		b.t.Fatal(err)
	}
}

// mount adds a mount to the spec. Binds get the id map in the mode that has one.
func (b *box) mount(kind, source, destination string, options ...string) {
	if kind == "bind" && b.userNS {
		options = append(options, "ridmap")
	}
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Type: kind, Source: source, Destination: destination, Options: options})
}

// root mounts the image.
func (b *box) root() *os.File {
	b.t.Helper()
	f, err := mount.Overlay(mount.OverlayConfig{
		Lower: []string{b.lower}, Upper: b.upper, Work: filepath.Join(filepath.Dir(b.upper), "work"), UserNS: b.c.UserNS,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// running is a started container.
type running struct {
	b     *box
	child spawn.Child
	group *cgroup.Group
	out   chan string
}

// start runs "init args..." and fails when it cannot be started.
func (b *box) start(args ...string) *running {
	b.t.Helper()
	r, err := b.try(args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// try runs "init args..."; args[0] beginning with ! is another program.
func (b *box) try(args ...string) (*running, error) {
	b.t.Helper()
	b.spec.Process.Args = append([]string{"init"}, args...)
	if len(args) > 0 && strings.HasPrefix(args[0], "!") {
		b.spec.Process.Args = append([]string{args[0][1:]}, args[1:]...)
	}
	root := b.root()
	defer root.Close()
	b.c.Root = root
	p, err := b.rt.Prepare(b.c)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	r := &running{b: b, group: p.Cgroup, out: make(chan string, 1)}
	if err := launch(b.t, p, b.stdin, r); err != nil {
		p.Abort()
		return nil, p.Explain(err)
	}
	return r, nil
}

// launch spawns a plan with pipes, or its terminal, and collects the output.
func launch(t testing.TB, p *Prepared, stdin string, r *running) error {
	t.Helper()
	in, out := tempFile(t, stdin), p.Console
	var w *os.File
	if out == nil {
		var err error
		if out, w, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if err := w.Chown(p.StdioUID, p.StdioGID); err != nil {
			t.Fatal(err)
		}
	} else {
		var err error
		if out, err = reopen(out); err != nil {
			t.Fatal(err)
		}
	}
	defer in.Close()
	prog, err := spawn.Load(p.Plan.Memfd, p.Plan.Files, [3]*os.File{in, w, w})
	if err != nil {
		t.Fatal(err)
	}
	if prog.Exposed() {
		h := spawn.NewHelper("/proc/self/exe", "spawn-helper")
		defer h.Close()
		r.child, err = h.Start(prog, 10*time.Second)
	} else {
		r.child, err = prog.Start(10 * time.Second)
	}
	if err != nil {
		out.Close()
		return err
	}
	go func() {
		var b bytes.Buffer
		io.Copy(&b, out) // a terminal ends by EIO
		out.Close()
		r.out <- b.String()
	}()
	return nil
}

func tempFile(t testing.TB, content string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "stdin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

// wait returns what the container printed and how it ended.
func (r *running) wait() (string, unix.WaitStatus) {
	r.b.t.Helper()
	var out string
	select {
	case out = <-r.out:
	case <-time.After(20 * time.Second):
		pidfd.Signal(r.child.Pidfd, unix.SIGKILL)
		r.b.t.Errorf("the container did not end")
		out = <-r.out
	}
	if err := pidfd.Wait(context.Background(), r.child.Pidfd); err != nil {
		r.b.t.Error(err)
	}
	status, err := pidfd.Reap(r.child.Pidfd)
	if err != nil {
		r.b.t.Error(err)
	}
	r.child.Pidfd.Close()
	if r.group != nil {
		if err := r.group.Remove(); err != nil {
			r.b.t.Error(err)
		}
	}
	return out, status
}

// kill ends a container that would not end by itself.
func (r *running) kill() {
	pidfd.Signal(r.child.Pidfd, unix.SIGKILL)
	r.wait()
}

// run starts the container, waits, and returns its output without the last newline.
func (b *box) run(args ...string) string {
	b.t.Helper()
	out, status := b.start(args...).wait()
	if !status.Exited() || status.ExitStatus() != 0 {
		b.t.Errorf("init %q ended with %#x", args, status)
	}
	return strings.TrimSuffix(out, "\n")
}

// expect runs the container and compares what it prints.
func (b *box) expect(want string, args ...string) {
	b.t.Helper()
	if got := b.run(args...); got != want {
		b.t.Errorf("init %q printed\n%s\nwant\n%s", args, got, want)
	}
}

// fails starts a container that cannot be started and compares the reason.
func (b *box) fails(want string, args ...string) {
	b.t.Helper()
	r, err := b.try(args...)
	if err == nil {
		r.kill()
		b.t.Errorf("init %q was started, want %q", args, want)
	} else if err.Error() != want {
		b.t.Errorf("starting init %q failed with\n%v\nwant\n%s", args, err, want)
	}
}

// defaultSpec is what docker gives a container without any options.
func defaultSpec() *specs.Spec {
	names := caps.Default()
	filter, err := seccomp.Default(names)
	if err != nil {
		panic(err)
	}
	score := 0
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Env: []string{"PATH=/usr/bin:/bin", "HOME=/"}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names},
			OOMScoreAdj:  &score,
		},
		Hostname: "box",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.MountNamespace},
				{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace},
			},
			Seccomp: filter,
			MaskedPaths: []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}
