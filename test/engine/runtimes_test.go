package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"hoy/test/built"
	"hoy/test/rootful"
)

// foreign starts an engine that has runc as the runtime "oci", by containerd's shim.
func foreign(t *testing.T, flags ...string) *Engine {
	t.Helper()
	rootful.Check(t)
	t.Setenv("PATH", filepath.Dir(built.Shim.Path(t))+":"+os.Getenv("PATH")+":/usr/sbin")
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal("these tests need Debian's package runc, which make tools installs: ", err)
	}
	e := Start(t, append([]string{"--add-runtime", "oci=" + runc}, flags...)...)
	e.ImportBusybox()
	t.Cleanup(func() { e.noShimLeft() })
	return e
}

// noShimLeft fails the test when shims or their bundles are there after all containers
// have been removed.
func (e *Engine) noShimLeft() {
	e.t.Helper()
	if ids := strings.Fields(e.Hoy("ps", "-aq")); len(ids) > 0 {
		e.Hoy(append([]string{"rm", "-f", "-v"}, ids...)...)
	}
	e.Eventually("nothing of the shims is left", func() bool {
		bundles, _ := os.ReadDir(e.Dir + "/run/tasks")
		return len(e.shims()) == 0 && len(e.processes("hoy-shim")) == 0 && len(bundles) == 0
	})
}

// shims lists the shims of the engine's containers.
func (e *Engine) shims() (pids []int) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if cwd, _ := os.Readlink(link); strings.HasPrefix(cwd, e.Dir) && filepath.Base(cmdline(pid)[0]) == built.Shim.Name {
			pids = append(pids, pid)
		}
	}
	return pids
}

// standin is the pid of the hoy-shim that stands for a container.
func (e *Engine) standin(name string) int {
	e.t.Helper()
	id := e.Hoy("inspect", "-f", "{{.Id}}", name)
	for _, p := range e.processes("hoy-shim") {
		if c := cmdline(p); len(c) > 2 && c[1] == "run" && strings.HasSuffix(c[2], id) {
			return p
		}
	}
	e.t.Fatalf("nothing stands for %s", name)
	return 0
}

func (e *Engine) pidOf(name string) int {
	e.t.Helper()
	pid, err := strconv.Atoi(e.Hoy("inspect", "-f", "{{.State.Pid}}", name))
	if err != nil || pid == 0 {
		e.t.Fatalf("%s does not run: %v", name, err)
	}
	return pid
}

// TestForeignRun: what a container of another runtime prints, how it ends and how it
// fails to start is as with hoy's own.
func TestForeignRun(t *testing.T) {
	e := foreign(t)
	run := func(args ...string) []string { return append([]string{"run", "--rm", "--runtime", "oci"}, args...) }
	r := e.Try(run("busybox", "sh", "-c", "echo out; echo err >&2; exit 7")...)
	if r.Stdout != "out\n" || r.Stderr != "err\n" || r.Code != 7 {
		t.Errorf("%+v", r)
	}
	if r := e.TryIn(strings.NewReader(strings.Repeat("x", 3<<20)), run("-i", "busybox", "wc", "-c")...); strings.TrimSpace(r.Stdout) != "3145728" || r.Code != 0 {
		t.Errorf("its input: %+v", r)
	}
	for program, want := range map[string]struct {
		code int
		text string
	}{
		"nosuch": {127, `failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nosuch": executable file not found in $PATH`},
		"/etc":   {126, "failed to create task for container: failed to create shim task: "},
	} {
		r := e.Try(run("busybox", program)...)
		if r.Code != want.code || !strings.Contains(r.Stderr, want.text) {
			t.Errorf("%s: %d %s", program, r.Code, r.Stderr)
		}
	}
	for _, c := range []struct{ flag, command, want string }{
		{"--init", "tail -n1 /proc/1/comm; cat /proc/1/comm", "docker-init"},
		{"--network=none", "ip -o link | wc -l", "1"},
		{"--user=1000:7", "id -u; id -g", "1000\n7"},
		{"--read-only", "touch /x 2>&1 | grep -o Read-only", "Read-only"},
		{"--memory=64m", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true", "67108864"},
		{"--tmpfs=/t:size=1m", "df /t | grep -o 1024", "1024"},
		{"--hostname=nemo", "hostname", "nemo"},
		{"--cap-drop=ALL", "grep CapEff /proc/self/status | grep -o '0000$'", "0000"},
		{"--security-opt=seccomp=unconfined", "grep '^Seccomp:' /proc/self/status | grep -o 0", "0"},
		{"--env=A=b", "grep '^Seccomp:' /proc/self/status | grep -o 2; echo $A", "2\nb"},
	} {
		if got := e.Hoy(run(c.flag, "busybox", "sh", "-c", c.command)...); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.flag, got, c.want)
		}
	}
	if r := e.Try("create", "--runtime", "nope", "busybox"); r.Code == 0 || !strings.Contains(r.Stderr, "unknown or invalid runtime name: nope") {
		t.Errorf("an unknown runtime: %+v", r)
	}
	if r := e.Try("run", "--rm", "--runtime", "io.containerd.nope.v1", "busybox", "true"); r.Code != 128-3 || !strings.Contains(r.Stderr, "needs containerd-shim-nope-v1, which is not on the engine's PATH") {
		t.Errorf("a runtime that is not there: %+v", r)
	}
}

// TestForeignTerminal: a terminal passes everything on, its size too.
func TestForeignTerminal(t *testing.T) {
	e := foreign(t)
	out, code := e.Terminal("stty size; echo ab | tr ab cd\nexit 3\n", "run", "-it", "--rm", "--runtime", "oci", "busybox", "sh")
	if code != 3 || !strings.Contains(out, "cd\r\n") {
		t.Errorf("%d %q", code, out)
	}
	c := e.Command("run", "-it", "--rm", "--name", "con", "--runtime", "oci", "busybox", "sh", "-c",
		"trap 'stty size' WINCH; echo ready; while :; do read -t 1 x && break; done; echo got $x")
	tty, err := pty.StartWithSize(c, &pty.Winsize{Rows: 30, Cols: 90})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var all strings.Builder
	expect := func(what string) {
		t.Helper()
		b := make([]byte, 1000)
		for deadline := time.Now().Add(wait); !strings.Contains(all.String(), what); {
			tty.SetReadDeadline(deadline)
			n, err := tty.Read(b)
			if all.Write(b[:n]); err != nil {
				t.Fatalf("%q: %v, want %q\n%s", all.String(), err, what, tail(e.Log()))
			}
		}
	}
	expect("ready")
	pty.Setsize(tty, &pty.Winsize{Rows: 41, Cols: 123})
	expect("41 123")
	io.WriteString(tty, "input\n")
	expect("got input")
	c.Wait()
	e.Hoy("run", "-dt", "--name", "dt", "--runtime", "oci", "busybox", "sleep", "1000")
	if out, code := e.Terminal("tty; exit 4\n", "exec", "-it", "dt", "sh"); code != 4 || !strings.Contains(out, "/dev/pts/") {
		t.Errorf("exec: %d %q", code, out)
	}
}

// TestForeignLife does to a container of another runtime what can be done to one.
func TestForeignLife(t *testing.T) {
	e := foreign(t)
	dir := t.TempDir()
	e.Hoy("run", "-d", "--name", "con", "--runtime", "oci", "-p", "127.0.0.1::80", "-v", "vol:/v", "-v", dir+":/d", "busybox", "sh", "-c",
		"trap 'echo end; exit 3' TERM; echo here >/v/f; echo begun; mkdir /w; echo page >/w/index.html; httpd -h /w; while :; do echo >>/n; usleep 1000; done")
	e.Eventually("it counts", func() bool { return e.grows("con") })
	if got := e.Hoy("inspect", "-f", "{{.HostConfig.Runtime}} {{.State.Status}}", "con"); got != "oci running" {
		t.Error(got)
	}
	if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", e.pidOf("con"))); string(comm) != "sh\n" {
		t.Errorf("its process is %q", comm)
	}
	e.Eventually("it serves", func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimSpace(e.Hoy("port", "con", "80")), wait)
		if err != nil {
			return false
		}
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		b, _ := io.ReadAll(conn)
		return strings.HasSuffix(string(b), "page\n")
	})

	if r := e.TryIn(strings.NewReader("in"), "exec", "-i", "-u", "7", "-w", "/v", "-e", "A=b", "con", "sh", "-c", "cat; id -u; pwd; echo $A; exit 5"); r.Code != 5 || r.Stdout != "in7\n/v\nb\n" {
		t.Errorf("exec: %+v", r)
	}
	if r := e.Try("exec", "con", "nosuch"); r.Code != 127 || !strings.Contains(r.Stdout, "OCI runtime exec failed") || strings.Count(r.Stdout, "exec failed") != 2 {
		t.Errorf("exec of nothing: %+v", r)
	}
	if got := e.Hoy("top", "con", "-o", "pid,comm"); !strings.Contains(got, "httpd") {
		t.Errorf("top: %s", got)
	}
	if got := e.Hoy("stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}} {{.NetIO}}", "con"); strings.HasPrefix(got, "0 ") || strings.Contains(got, "0B / 0B ") {
		t.Errorf("stats: %s", got)
	}

	from := writeFile(t, filepath.Join(dir, "given"), []byte("given"))
	e.Hoy("cp", from, "con:/tmp/x")
	if got := e.Hoy("exec", "con", "cat", "/tmp/x", "/d/given"); got != "givengiven" {
		t.Errorf("cp to it: %q", got)
	}
	e.Hoy("cp", "con:/v/f", filepath.Join(dir, "taken"))
	if b, _ := os.ReadFile(filepath.Join(dir, "taken")); string(b) != "here\n" {
		t.Errorf("cp from it: %q", b)
	}
	if got := e.Hoy("diff", "con"); !strings.Contains(got, "A /tmp/x") {
		t.Errorf("diff: %s", got)
	}

	e.Hoy("pause", "con")
	if s := e.status("con"); s != "paused true true 0" || e.grows("con") {
		t.Errorf("paused: %s", s)
	}
	e.Hoy("unpause", "con")
	e.Eventually("it goes on", func() bool { return e.grows("con") })
	e.Hoy("update", "--memory", "96m", "--memory-swap", "96m", "con")
	if got := e.Hoy("exec", "con", "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"); got != strconv.Itoa(96<<20) {
		t.Errorf("update: %s", got)
	}

	e.Hoy("network", "create", "net")
	e.Hoy("network", "connect", "net", "con")
	if got := e.Hoy("exec", "con", "sh", "-c", "ip -o -4 addr | wc -l"); got != "3" {
		t.Errorf("connected: %s addresses", got)
	}
	for flag, command := range map[string]string{"--network": "wget -qO- http://127.0.0.1/", "--pid": "ps | grep -q '[h]ttpd' && echo 1"} {
		if got := e.Hoy("run", "--rm", flag, "container:con", "busybox", "sh", "-c", command); got != "page" && got != "1" {
			t.Errorf("%s of it: %s", flag, got)
		}
	}
	e.Hoy("network", "disconnect", "net", "con")

	e.Hoy("stop", "con")
	if s := e.status("con"); s != "exited false false 3" {
		t.Errorf("stopped: %s", s)
	}
	if got := e.Hoy("logs", "con"); got != "begun\nend" {
		t.Errorf("logs: %q", got)
	}
	e.Hoy("start", "con")
	e.Eventually("it counts again", func() bool { return e.grows("con") })
	e.Hoy("pause", "con")
	e.Hoy("kill", "con")
	if s := e.status("con"); s != "exited false false 137" {
		t.Errorf("killed while it was paused: %s", s)
	}
	events := e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "container=con", "--format", "{{.Action}}")
	for _, want := range []string{"start", "kill", "die", "pause", "unpause", "exec_die", "network"} {
		if want != "network" && !strings.Contains(events, want) {
			t.Errorf("no event %s: %s", want, events)
		}
	}
}

// TestForeignPolicies: health checks and restart policies hold.
func TestForeignPolicies(t *testing.T) {
	e := foreign(t, "--default-runtime", "oci")
	e.Hoy("run", "-d", "--name", "healthy", "--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "1", "busybox", "sleep", "1000")
	health := func() string { return e.Hoy("inspect", "-f", "{{.State.Health.Status}}", "healthy") }
	e.Eventually("it is unhealthy", func() bool { return health() == "unhealthy" })
	e.Hoy("exec", "healthy", "touch", "/ok")
	e.Eventually("it is healthy", func() bool { return health() == "healthy" })

	e.Hoy("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo x; exit 9")
	e.Eventually("it was started thrice", func() bool {
		return e.Hoy("inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "again") == "2 exited 9"
	})
	if got := e.Hoy("logs", "again"); got != "x\nx\nx" {
		t.Errorf("%q", got)
	}
	if got := e.Hoy("inspect", "-f", "{{.HostConfig.Runtime}}", "again"); got != "oci" {
		t.Errorf("the default runtime: %s", got)
	}

	e.Hoy("run", "--name", "greedy", "--memory", "16m", "--memory-swap", "16m", "busybox", "sh", "-c", "tail /dev/zero; true")
	if got := e.Hoy("inspect", "-f", "{{.State.OOMKilled}}", "greedy"); got != "true" {
		t.Errorf("killed for lack of memory: %s", got)
	}
}

// TestForeignUpdate: what a runtime cannot change stays as it is, and what is not its matter
// it is not asked for.
func TestForeignUpdate(t *testing.T) {
	script := writeFile(t, filepath.Join(t.TempDir(), "fixed"), []byte(`#!/bin/sh
case " $* " in *" update "*) echo 'cannot update' >&2; exit 1;; esac
exec runc "$@"
`))
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	e := foreign(t, "--add-runtime", "fixed="+script)
	e.Hoy("run", "-d", "--name", "con", "--runtime", "fixed", "busybox", "sleep", "1000")
	e.Hoy("update", "--restart", "always", "con")
	if r := e.Try("update", "--memory", "64m", "--memory-swap", "64m", "con"); r.Code == 0 || !strings.Contains(r.Stderr, "cannot update") {
		t.Errorf("%+v", r)
	}
	if got := e.Hoy("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}}", "con"); got != "always 0" {
		t.Errorf("%s", got)
	}
}

// TestForeignDeaths: whoever of engine, keeper, stand-in and shim dies, the container goes
// on or has ended, and nothing of it is left.
func TestForeignDeaths(t *testing.T) {
	e := foreign(t)
	counting := func(name string) {
		t.Helper()
		e.counting(name, "--runtime", "oci")
		e.Eventually("it counts", func() bool { return e.grows(name) })
	}
	counting("con")
	pid := e.pidOf("con")
	e.Kill()
	e.Up()
	if got := e.pidOf("con"); got != pid || !e.grows("con") {
		t.Errorf("after the engine's death: pid %d, was %d", got, pid)
	}
	if got := e.Hoy("exec", "con", "echo", "in"); got != "in" {
		t.Errorf("exec after the engine's death: %q", got)
	}
	e.Hoy("pause", "con")
	e.Kill()
	e.Up()
	if s := e.status("con"); s != "paused true true 0" {
		t.Errorf("paused, after the engine's death: %s", s)
	}
	e.Hoy("unpause", "con")
	e.KillKeeper()
	e.Eventually("there is a keeper again", func() bool { return e.KeeperPid() != 0 })
	e.Hoy("stop", "con")
	if s := e.status("con"); s != "exited false false 3" && s != "exited false false 255" { // which one, the kernel decides
		t.Errorf("stopped after the keeper's death: %s", s)
	}

	e.Hoy("start", "con")
	pid = e.pidOf("con")
	unix.Kill(e.standin("con"), unix.SIGKILL)
	e.Eventually("it has ended", func() bool { return e.status("con") == "exited false false 137" })
	if unix.Kill(pid, 0) == nil {
		t.Error("the process goes on without the stand-in")
	}
	e.nothingRuns()

	e.Hoy("start", "con")
	socket := e.socket("con")
	for _, p := range e.shims() {
		unix.Kill(p, unix.SIGKILL)
	}
	e.Eventually("it has ended", func() bool { return e.status("con") == "exited false false 137" })
	e.nothingRuns()
	if _, err := os.Lstat(socket); err == nil {
		t.Errorf("%s is left", socket)
	}

	e.Hoy("start", "con")
	standin := e.standin("con")
	e.Kill()
	unix.Kill(standin, unix.SIGKILL)
	e.Up()
	e.Eventually("it has ended", func() bool { return e.status("con") == "exited false false 137" })
	e.nothingRuns()

	e.Hoy("start", "con")
	unix.Kill(e.standin("con"), unix.SIGSTOP)
	e.Hoy("rm", "-f", "con")
	e.nothingRuns()
}

// socket is the path where the shim of a container answers.
func (e *Engine) socket(name string) string {
	e.t.Helper()
	b, err := os.ReadFile(filepath.Join(e.Dir, "run/tasks", e.Hoy("inspect", "-f", "{{.Id}}", name), "shim.json"))
	var at struct{ Address string }
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.TrimPrefix(at.Address, "unix://")
}

// nothingRuns waits until no shim runs.
func (e *Engine) nothingRuns() {
	e.t.Helper()
	e.Eventually("no shim runs", func() bool { return len(e.shims()) == 0 && len(e.processes("hoy-shim")) == 0 })
}

// TestRuntimesReloaded: runtimes come and go with daemon.json, as info says; a container
// whose runtime is gone says so at its start.
func TestRuntimesReloaded(t *testing.T) {
	rootful.Check(t)
	t.Setenv("PATH", filepath.Dir(built.Shim.Path(t))+":"+os.Getenv("PATH")+":/usr/sbin")
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return writeFile(t, filepath.Join(dir, "daemon.json"), b)
	}
	type runtimes = map[string]map[string]any
	e := Start(t, "--config-file", config(map[string]any{"runtimes": runtimes{
		"args":    {"path": runc, "runtimeArgs": []string{"--log-format", "json"}},
		"options": {"runtimeType": "io.containerd.runc.v2", "options": map[string]any{"BinaryName": runc}},
		"shim":    {"runtimeType": built.Shim.Path(t)},
		"wrong":   {"runtimeType": "io.containerd.runc.v2", "options": map[string]any{"Binary": runc}},
	}}))
	e.ImportBusybox()
	for _, name := range []string{"args", "options", "shim", "hoy", "runc", "io.containerd.runc.v2"} {
		if got := e.Hoy("run", "--rm", "--runtime", name, "busybox", "echo", name); got != name {
			t.Errorf("%s: %q", name, got)
		}
	}
	if r := e.Try("run", "--rm", "--runtime", "wrong", "busybox", "true"); !strings.Contains(r.Stderr, "the runtime has no option Binary") {
		t.Errorf("%+v", r)
	}
	if got := e.Hoy("info", "-f", "{{.DefaultRuntime}} {{range $k, $v := .Runtimes}}{{$k}} {{end}}"); got != "runc args hoy io.containerd.runc.v2 options runc shim wrong" {
		t.Errorf("info: %s", got)
	}
	e.Hoy("create", "--name", "con", "--runtime", "args", "busybox", "true")
	config(map[string]any{"runtimes": runtimes{"other": {"path": runc}}, "default-runtime": "other"})
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the default is another", func() bool { return e.Hoy("info", "-f", "{{.DefaultRuntime}}") == "other" })
	if r := e.Try("start", "con"); r.Code == 0 || !strings.Contains(r.Stderr, "unknown or invalid runtime name: args") {
		t.Errorf("a runtime that is gone: %+v", r)
	}
	if got := e.Hoy("run", "--name", "def", "busybox", "echo", "x"); got != "x" || e.Hoy("inspect", "-f", "{{.HostConfig.Runtime}}", "def") != "other" {
		t.Errorf("by default: %q", got)
	}
}

// TestForeignUser: with a user namespace another runtime's container has the ids that hoy's
// own have, and so have its files.
func TestForeignUser(t *testing.T) {
	e := foreign(t, "--userns-remap", "default")
	if err := os.Chmod(e.Dir, 0o711); err != nil { // as /run is: runc finds the root file system as the container's root
		t.Fatal(err)
	}
	show := "cat /proc/self/uid_map; touch /v/f /f; stat -c %u:%g /v/f /f /etc/hosts; touch /proc/1/oom_score_adj 2>/dev/null; ip -o -4 addr | wc -l"
	own := e.Hoy("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", show)
	if got := e.Hoy("run", "--rm", "-v", "vol:/v", "--runtime", "oci", "busybox", "sh", "-c", show); got != own || !strings.Contains(got, "0:0\n0:0\n0:0") {
		t.Errorf("%q, hoy's own %q", got, own)
	}
	e.Hoy("run", "-d", "--name", "con", "--runtime", "oci", "busybox", "sleep", "1000")
	if got := e.Hoy("exec", "-u", "7", "con", "sh", "-c", "id -u; cat /proc/self/uid_map | wc -l"); got != "7\n1" {
		t.Errorf("exec: %q", got)
	}
}
