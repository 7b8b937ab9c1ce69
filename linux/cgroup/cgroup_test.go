package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "task" {
		task(os.Args[2])
	}
	os.Exit(rootful.Main(m))
}

// task is a program to limit: it says when it is there, waits for a line, and works.
func task(what string) {
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	switch what {
	case "eat": // 200 MB, touching each page
		var all [][]byte
		for range 200 {
			b := make([]byte, mega)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		fmt.Println("ate", len(all))
	case "spin":
		for i := 0; ; i++ {
			runtime.KeepAlive(i)
		}
	case "count":
		for i := 0; ; i++ {
			fmt.Println(i)
		}
	case "null", "zero", "mknod":
		var err error
		if what == "mknod" {
			path := filepath.Join(os.TempDir(), fmt.Sprint("hoy-mknod-", os.Getpid()))
			err = unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0)))
			os.Remove(path)
		} else {
			var f *os.File
			if f, err = os.OpenFile("/dev/"+what, os.O_RDWR, 0); err == nil {
				f.Close()
			}
		}
		fmt.Println(what, err)
	case "fork":
		n := 0
		for range 30 {
			c := exec.Command("/bin/busybox", "sleep", "60")
			if c.Start() != nil {
				break
			}
			n++
		}
		fmt.Println("forked", n < 30)
	case "wait":
		in.ReadString('\n')
	}
	os.Exit(0)
}

// running is a task in a group.
type running struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a task and puts it into g the way the spawn script does: born in the
// unified hierarchy, and one write by itself for each other. Go has no hook in the
// child, so the test writes its process id; then it lets it go.
func start(t *testing.T, g *Group, what string) *running {
	t.Helper()
	c := exec.Command("/proc/self/exe", "task", what)
	c.Env = append(os.Environ(), "GOMAXPROCS=1", "TMPDIR="+t.TempDir())
	tasks, err := g.Tasks()
	if err != nil {
		t.Fatal(err)
	}
	if into := g.CloneInto(); into != nil {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(into.Fd())}
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	r := &running{c, in, bufio.NewReader(out)}
	r.line(t)
	for _, f := range tasks {
		procs := filepath.Join(filepath.Dir(f.Name()), "cgroup.procs")
		if err := os.WriteFile(procs, []byte(fmt.Sprint(c.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(in, "\n")
	return r
}

func (r *running) line(t *testing.T) string {
	t.Helper()
	s, err := r.out.ReadString('\n')
	if err != nil {
		return "ended"
	}
	return strings.TrimSpace(s)
}

// hosts runs f for this machine's mode, and for v1 alone where it is hybrid.
func hosts(t *testing.T, f func(t *testing.T, h *Host)) {
	for _, unified := range []bool{true, false} {
		h, err := open("", unified)
		if err != nil {
			t.Fatal(err)
		}
		mode := h.Mode().String()
		h.Close()
		if !unified && mode == "v2" {
			continue
		}
		t.Run(mode, func(t *testing.T) {
			rootful.Check(t)
			h, err := open("", unified)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.Close(); removeParent(t, unified) })
			f(t, h)
		})
	}
}

// removeParent removes the group of groups that a test's Host has made.
func removeParent(t *testing.T, unified bool) {
	h, err := open("", unified)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Load(parent).Remove(); err != nil {
		t.Error(err)
	}
}

var parent = fmt.Sprint("/hoy-test-", os.Getpid())

func create(t *testing.T, h *Host, r *specs.LinuxResources) *Group {
	t.Helper()
	g, err := h.Create(parent+"/"+filepath.Base(t.Name()), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		for _, v := range h.all() {
			if exists(v.fd(), g.rel) {
				t.Errorf("%s is there after Remove", v.name(g.rel))
			}
		}
	})
	return g
}

func TestMemoryLimitKills(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, resources(func(r *specs.LinuxResources) {
			r.Memory.Limit, r.Memory.Swap = new(int64(32*mega)), new(int64(64*mega))
		}))
		c := start(t, g, "eat")
		if out := c.line(t); out != "ended" {
			t.Fatalf("200 MB in a group of 32: %s", out)
		}
		eventually.True(t, "the kill is counted", func() bool { n, err := g.OOMKills(); return err == nil && n > 0 })
		s, err := g.Stats()
		if err != nil || s.Memory.Limit != 32*mega || s.Memory.Failed == 0 {
			t.Errorf("counters %+v, %v", s.Memory, err)
		}
	})
}

// TestWatchOOM: who watches is called for a kill, and not after having stopped.
func TestWatchOOM(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, resources(func(r *specs.LinuxResources) {
			r.Memory.Limit, r.Memory.Swap = new(int64(32*mega)), new(int64(32*mega))
		}))
		called := make(chan struct{}, 1)
		stop, err := g.WatchOOM(func() {
			select {
			case called <- struct{}{}:
			default:
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		start(t, g, "eat")
		eventually.True(t, "the watcher is called", func() bool { return len(called) > 0 })
		eventually.True(t, "the kill is counted", func() bool { n, err := g.OOMKills(); return err == nil && n == 1 })
		stop()
		<-called
		start(t, g, "eat").line(t)
		eventually.True(t, "the second kill is counted", func() bool { n, err := g.OOMKills(); return err == nil && n == 2 })
		if len(called) > 0 {
			t.Error("called after stop")
		}
	})
}

func TestPIDsLimit(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, resources(func(r *specs.LinuxResources) { r.Pids.Limit = new(int64(20)) }))
		c := start(t, g, "fork")
		if out := c.line(t); out != "forked true" {
			t.Errorf("30 processes in a group of 20 tasks: %s", out)
		}
		if s, err := g.Stats(); err != nil || s.PIDs.Limit != 20 || s.PIDs.Current > 20 {
			t.Errorf("counters %+v, %v", s.PIDs, err)
		}
	})
}

func TestQuotaThrottles(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, resources(func(r *specs.LinuxResources) { r.CPU.Quota, r.CPU.Period = new(int64(1000)), new(uint64(10000)) }))
		start(t, g, "spin")
		eventually.True(t, "the task is throttled", func() bool {
			s, err := g.Stats()
			return err == nil && s.CPU.Throttled > 2 && s.CPU.Periods >= s.CPU.Throttled && s.CPU.ThrottledTime > 0 && s.CPU.Usage > 0
		})
	})
}

func TestDevices(t *testing.T) {
	null := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: new(int64(1)), Minor: new(int64(3)), Access: "rw"}
	denied := fmt.Sprint(&os.PathError{Op: "open", Path: "/dev/zero", Err: unix.EPERM})
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}, null}})
		for what, want := range map[string]string{"null": "null <nil>", "zero": "zero " + denied, "mknod": "mknod " + unix.EPERM.Error()} {
			if got := start(t, g, what).line(t); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		// Everything but one, on the live group, twice.
		for range 2 {
			if _, err := g.Set(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "a"}, {Type: "c", Major: new(int64(1)), Minor: new(int64(5)), Access: "w"}}}); err != nil {
				t.Fatal(err)
			}
		}
		for what, want := range map[string]string{"null": "null <nil>", "zero": "zero " + denied, "mknod": "mknod <nil>"} {
			if got := start(t, g, what).line(t); got != want {
				t.Errorf("after the update: %q, want %q", got, want)
			}
		}
	})
}

func TestFreezeAndThaw(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, nil)
		c := start(t, g, "count")
		c.line(t)
		if frozen, err := g.Frozen(); frozen || err != nil {
			t.Errorf("at first: frozen %v, %v", frozen, err)
		}
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		if frozen, err := h.Load(g.Path()).Frozen(); !frozen || err != nil {
			t.Errorf("frozen %v, %v", frozen, err)
		}
		// What is in the pipe can be read, then nothing comes.
		c.Stdout = nil
		state := func() string {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
			return string(b)
		}
		cpu := func() string { return strings.Join(strings.Fields(state())[13:15], " ") }
		before := cpu()
		for deadline := time.Now().Add(50 * time.Millisecond); time.Now().Before(deadline); {
			if cpu() != before {
				t.Fatal("a frozen task runs")
			}
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
		if frozen, err := g.Frozen(); frozen || err != nil {
			t.Errorf("thawed: frozen %v, %v", frozen, err)
		}
		for range 20000 { // more than a pipe holds
			if c.line(t) == "ended" {
				t.Fatal("the task has ended")
			}
		}
	})
}

func TestKillAndSignal(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, nil)
		first, second := start(t, g, "wait"), start(t, g, "wait")
		want := []int{first.Process.Pid, second.Process.Pid}
		slices.Sort(want)
		if pids, err := g.Procs(); err != nil || !slices.Equal(pids, want) {
			t.Errorf("processes %v, %v, want %v", pids, err, want)
		}
		if err := g.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if first.line(t) != "ended" || second.line(t) != "ended" {
			t.Error("SIGTERM ends nothing")
		}
		frozen := start(t, g, "wait")
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		if frozen.line(t) != "ended" {
			t.Error("a frozen task is not killed")
		}
	})
}

func TestRemoveWithSubgroups(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, nil)
		for _, v := range h.all() {
			for _, below := range []string{"/a", "/a/b", "/c"} {
				if err := unix.Mkdirat(v.fd(), g.rel+below, 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		if err := g.Remove(); err != nil {
			t.Errorf("removing what is not there: %v", err)
		}
		if err := g.Kill(); err != nil {
			t.Errorf("killing what is not there: %v", err)
		}
	})
}

func TestRemoveEmpty(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, nil)
		above := h.Load(filepath.Dir(g.Path()))
		if err := above.RemoveEmpty(); err != nil || !h.Exists(above.Path()) || !h.Exists(g.Path()) {
			t.Errorf("a group with another in it is gone, or %v", err)
		}
		start(t, g, "wait")
		if err := g.RemoveEmpty(); err != nil || !h.Exists(g.Path()) {
			t.Errorf("a group with a process is gone, or %v", err)
		}
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(); err != nil || h.Exists(g.Path()) {
			t.Errorf("it is still there: %v", err)
		}
		if err := g.RemoveEmpty(); err != nil {
			t.Errorf("removing what is not there: %v", err)
		}
	})
}

func TestCreateAgain(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, resources(func(r *specs.LinuxResources) { r.Pids.Limit = new(int64(5)) }))
		again, err := h.Create(g.Path(), nil)
		if err != nil {
			t.Fatalf("an empty group left over is in the way: %v", err)
		}
		if s, err := again.Stats(); err != nil || s.PIDs.Limit != ^uint64(0) {
			t.Errorf("it still has its old limits: %+v, %v", s.PIDs, err)
		}
		start(t, again, "wait")
		if _, err := h.Create(g.Path(), nil); !fault.Is(err, fault.Conflict) {
			t.Errorf("creating a group in use: %v", err)
		}
		if pids, _ := again.Procs(); len(pids) != 1 {
			t.Errorf("the group in use was disturbed: processes %v", pids)
		}
		again.Close()
	})
}

func TestUpdateInAnyOrder(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, resources(func(r *specs.LinuxResources) {
			r.Memory.Limit, r.Memory.Swap = new(int64(32*mega)), new(int64(32*mega))
			r.CPU.Quota = new(int64(20000))
		}))
		for _, size := range []int64{64 * mega, 16 * mega, 128 * mega} {
			_, err := g.Set(resources(func(r *specs.LinuxResources) {
				r.Memory.Limit, r.Memory.Swap, r.CPU.Shares, r.CPU.Quota = &size, &size, new(uint64(512)), new(size/1000)
			}))
			if err != nil {
				t.Fatal(err)
			}
			if s, err := g.Stats(); err != nil || s.Memory.Limit != uint64(size) {
				t.Errorf("limit %d, %v, want %d", s.Memory.Limit, err, size)
			}
		}
		if _, err := g.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}}); err != nil {
			t.Error(err)
		}
		_, err := g.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4000"}})
		if err == nil || !strings.Contains(err.Error(), "cpuset.cpus") || !strings.Contains(err.Error(), g.Path()) {
			t.Errorf("processors that are not there: %v", err)
		}
	})
}

// TestSetAllOrNothing: what the kernel refuses changes nothing, and what it took can
// be undone.
func TestSetAllOrNothing(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		g := create(t, h, resources(func(r *specs.LinuxResources) {
			r.Memory.Limit, r.Memory.Swap = new(int64(32*mega)), new(int64(64*mega))
			r.CPU.Quota, r.CPU.Shares, r.Pids.Limit = new(int64(20000)), new(uint64(512)), new(int64(9))
		}))
		files := func() string {
			var b strings.Builder
			for _, f := range [][2]string{{"cpu", "cpu.max"}, {"cpu", "cpu.weight"}, {"cpu", "cpu.cfs_quota_us"}, {"cpu", "cpu.cfs_period_us"}, {"cpu", "cpu.shares"},
				{"cpuset", "cpuset.cpus"}, {"pids", "pids.max"}, {"memory", "memory.max"}, {"memory", "memory.swap.max"}, {"memory", "memory.limit_in_bytes"}, {"memory", "memory.memsw.limit_in_bytes"}} {
				if v := h.find(f[0]); v != nil {
					if s, err := readFile(v.fd(), g.rel+"/"+f[1]); err == nil {
						fmt.Fprintln(&b, f[1], strings.TrimSpace(s))
					}
				}
			}
			return b.String()
		}
		change := resources(func(r *specs.LinuxResources) {
			r.Memory.Limit, r.Memory.Swap = new(int64(128*mega)), new(int64(256*mega))
			r.CPU.Period, r.CPU.Quota, r.CPU.Shares, r.Pids.Limit = new(uint64(50000)), new(int64(10000)), new(uint64(2048)), new(int64(-1))
			r.CPU.Cpus = "0"
		})
		before := files()
		undo, err := g.Set(change)
		if err != nil || files() == before {
			t.Fatalf("%v\n%s", err, files())
		}
		if err := undo(); err != nil || files() != before {
			t.Errorf("undone: %v\n%s\nwant\n%s", err, files(), before)
		}
		change.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}} // there is no such size
		if _, err := g.Set(change); err == nil || files() != before {
			t.Errorf("refused: %v\n%s\nwant\n%s", err, files(), before)
		}
	})
}

// TestFailureLeavesNothing: Check sees what Create leaves behind.
func TestFailureLeavesNothing(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		for want, r := range map[string]*specs.LinuxResources{
			"cpuset.cpus":       {CPU: &specs.LinuxCPU{Cpus: "4000"}},
			"no cgroup control": {Rdma: map[string]specs.LinuxRdma{"x": {HcaHandles: new(uint32(1))}}},
		} {
			if slices.Contains(h.Controllers(), "rdma") && r.Rdma != nil {
				want = "rdma.max" // there is no such device
			}
			if _, err := h.Create(parent+"/failing", r); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
			if v := h.all()[len(h.all())-1]; exists(v.fd(), relative(parent+"/failing")) {
				t.Error("the group is there after its creation has failed")
			}
		}
	})
}

func TestControllers(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		for _, c := range []string{"cpu", "cpuset", "devices", "freezer", "memory", "pids"} {
			if !slices.Contains(h.Controllers(), c) {
				t.Errorf("%s is not among %v", c, h.Controllers())
			}
		}
	})
}

// TestProcessesInTheWay: on v2, limits below a group with processes are refused with
// the reason.
func TestProcessesInTheWay(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		if h.Mode() != V2 {
			return // only v2 has the rule
		}
		g := create(t, h, nil)
		start(t, g, "wait")
		if _, err := h.Create(g.Path()+"/below", nil); err == nil || !strings.Contains(err.Error(), "processes are in cgroup") {
			t.Errorf("error %v", err)
		}
	})
}

// BenchmarkGroup is the life of an empty group: made, joined by a task, removed.
func BenchmarkGroup(b *testing.B) {
	rootful.Need(b)
	h, err := Open("")
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	defer h.Load(parent).Remove()
	var made, gone time.Duration
	for i := range b.N {
		begin := time.Now()
		g, err := h.Create(fmt.Sprint(parent, "/", i), resources(func(r *specs.LinuxResources) { r.Pids.Limit = new(int64(100)) }))
		if err != nil {
			b.Fatal(err)
		}
		made += time.Since(begin)
		begin = time.Now()
		if err := g.Remove(); err != nil {
			b.Fatal(err)
		}
		gone += time.Since(begin)
	}
	b.ReportMetric(float64(made.Microseconds())/float64(b.N), "µs/create")
	b.ReportMetric(float64(gone.Microseconds())/float64(b.N), "µs/remove")
}
