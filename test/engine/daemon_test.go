package engine

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// get asks the engine's API and returns status and body.
func (e *Engine) get(path string) (int, string) {
	e.t.Helper()
	r, err := e.HTTP().Get("http://hoy" + path)
	if err != nil {
		e.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// reloads returns the attributes of the daemon's reload events so far.
func (e *Engine) reloads() (all []map[string]string) {
	e.t.Helper()
	for line := range strings.Lines(e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "event=reload", "--filter", "type=daemon", "--format", "json")) {
		var m struct {
			Actor struct{ Attributes map[string]string }
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			e.t.Fatal(err)
		}
		all = append(all, m.Actor.Attributes)
	}
	return all
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReload: SIGHUP reads daemon.json again. What can change changes, with docker's
// event; of the rest the log says that it waits; a bad file changes nothing.
func TestReload(t *testing.T) {
	rootful.Check(t)
	config := filepath.Join(t.TempDir(), "daemon.json")
	write(t, config, `{"labels": ["a=b"], "default-shm-size": "32m"}`)
	e := Start(t, "--config-file", config)
	if code, _ := e.get("/debug/pprof/goroutine?debug=1"); code != http.StatusNotFound {
		t.Errorf("the debug address answers %d without --debug", code)
	}

	write(t, config, `{"labels": ["c=d"], "debug": true, "default-shm-size": "16m", "default-stop-timeout": 0, "mtu": 1400,
		"insecure-registries": ["192.0.2.1:5000"], "max-concurrent-downloads": 7}`)
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the reload", func() bool { return len(e.reloads()) == 1 })
	got := e.reloads()[0]
	for k, want := range map[string]string{
		"labels": `["c=d"]`, "debug": "true", "default-shm-size": "16777216", "default-stop-timeout": "0", "live-restore": "true",
		"insecure-registries": `["192.0.2.1:5000"]`, "registry-mirrors": "[]", "max-concurrent-downloads": "7", "max-concurrent-uploads": "5",
		"max-download-attempts": "5", "shutdown-timeout": "15", "default-ipc-mode": "private", "default-cgroupns-mode": "private",
		"default-runtime": "runc", "runtimes": "", "features": "map[]",
	} {
		if got[k] != want {
			t.Errorf("attribute %s is %q, want %q", k, got[k], want)
		}
	}
	if got := e.Hoy("info", "--format", "{{.Labels}} {{.Debug}}"); got != "[c=d] true" {
		t.Error(got)
	}
	if got := e.Hoy("run", "--rm", "hoy/toolbox", "sh", "-c", "df -k /dev/shm | tail -n 1"); !strings.Contains(got, " 16384 ") {
		t.Errorf("/dev/shm after the reload: %s", got)
	}
	if code, body := e.get("/debug/pprof/goroutine?debug=1"); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("the debug address: %d %s", code, tail(body))
	}
	if code, body := e.get("/debug/vars"); code != http.StatusOK || !strings.Contains(body, "memstats") {
		t.Errorf("/debug/vars: %d %s", code, tail(body))
	}
	if !strings.Contains(e.Log(), "--mtu has changed, which takes effect when the engine starts again") {
		t.Errorf("the log does not say that mtu waits:\n%s", tail(e.Log()))
	}

	write(t, config, `{"labels": ["e=f"], "nonsense": 1}`)
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the refusal", func() bool {
		return strings.Contains(e.Log(), "don't match any configuration option: nonsense")
	})
	if got := e.Hoy("info", "--format", "{{.Labels}}"); got != "[c=d]" {
		t.Error(got)
	}
}

// TestSignals: SIGUSR1 writes the stacks, SIGPIPE does nothing, SIGTERM ends.
func TestSignals(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	unix.Kill(e.Pid(), unix.SIGPIPE)
	unix.Kill(e.Pid(), unix.SIGUSR1)
	var dumps []string
	e.Eventually("the stacks", func() bool {
		dumps, _ = filepath.Glob(filepath.Join(e.Dir, "run", "goroutine-stacks-*.log"))
		return len(dumps) == 1 && strings.Contains(e.Log(), "goroutine stacks written to "+dumps[0])
	})
	if b, err := os.ReadFile(dumps[0]); err != nil || !bytes.Contains(b, []byte("hoy/daemon.(*Daemon).Run")) {
		t.Errorf("%v\n%s", err, b)
	}
	unix.Kill(e.Pid(), unix.SIGTERM)
	if err := e.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSystemd: an engine that systemd starts takes the sockets that it is given, and
// tells when it is ready, reads its configuration, and ends.
func TestSystemd(t *testing.T) {
	rootful.Check(t)
	dir := t.TempDir()
	states, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer states.Close()
	state := func() string {
		b := make([]byte, 1000)
		states.SetReadDeadline(time.Now().Add(wait))
		n, err := states.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	e := Start(t)
	e.Kill()
	e.activated(t, dir+"/s1", dir+"/s2", dir+"/notify")
	if got := state(); got != "READY=1" {
		t.Fatal(got)
	}
	for _, s := range []string{"s1", "s2"} {
		e.Host = "unix://" + dir + "/" + s
		e.Hoy("version")
	}
	// Nobody else has the sockets: with the engine gone they are gone.
	if out, _ := exec.Command("ls", "-l", "/proc/"+strconv.Itoa(e.KeeperPid())+"/fd").Output(); bytes.Count(out, []byte("socket:")) > 2 {
		t.Errorf("the keeper has sockets of the engine's:\n%s", out)
	}
	unix.Kill(e.Pid(), unix.SIGHUP)
	if got := state(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Error(got)
	}
	if got := state(); got != "READY=1" {
		t.Error(got)
	}
	unix.Kill(e.Pid(), unix.SIGTERM)
	if got := state(); got != "STOPPING=1" {
		t.Error(got)
	}
	if err := e.Wait(); err != nil {
		t.Error(err)
	}
	e.Host = "unix://" + e.Dir + "/s"
}

// activated starts the engine as systemd would, with two sockets and --host fd://.
func (e *Engine) activated(t *testing.T, first, second, notify string) {
	t.Helper()
	var files []*os.File
	for _, path := range []string{first, second} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	args := append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, e.flags...)
	for i, a := range args {
		if a == e.Host {
			args[i] = "fd://"
		}
	}
	e.cmd = exec.Command("/bin/sh", args...)
	e.cmd.Stdout, e.cmd.Stderr, e.cmd.ExtraFiles = e.log, e.log, files
	e.cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "NOTIFY_SOCKET="+notify)
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// TestMetrics: what Prometheus reads has dockerd's names.
func TestMetrics(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--metrics-addr", "127.0.0.1:9323")
	e.Hoy("run", "--name", "one", "hoy/toolbox", "true")
	e.Hoy("run", "-d", "--name", "two", "hoy/toolbox", "sleep", "100")
	e.Hoy("rm", "one")
	e.Hoy("run", "-d", "--name", "ill", "--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1", "hoy/toolbox", "sleep", "100")
	e.Eventually("a health check", func() bool { return e.Hoy("inspect", "-f", "{{.State.Health.Status}}", "ill") == "unhealthy" })
	r, err := http.Get("http://127.0.0.1:9323/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Error(got)
	}
	for _, line := range []string{
		`engine_daemon_container_states_containers{state="running"} 2`,
		`engine_daemon_container_states_containers{state="stopped"} 0`,
		`engine_daemon_container_actions_seconds_count{action="create"} 3`,
		`engine_daemon_container_actions_seconds_count{action="start"} 3`,
		`engine_daemon_container_actions_seconds_count{action="delete"} 1`,
		`engine_daemon_events_subscribers_total 0`,
	} {
		if !strings.Contains(string(b), line+"\n") {
			t.Errorf("no line %s in\n%s", line, b)
		}
	}
	for _, name := range []string{"engine_daemon_events_total", "engine_daemon_health_checks_total", "engine_daemon_health_checks_failed_total"} {
		if !strings.Contains(string(b), "\n"+name+" ") || strings.Contains(string(b), "\n"+name+" 0\n") {
			t.Errorf("%s counted nothing", name)
		}
	}
}

// TestUmaskOfWhoStartsIt starts the engine with the umask of a careful administrator: users
// in containers read what is theirs all the same, in images that are built as well.
func TestUmaskOfWhoStartsIt(t *testing.T) {
	old := unix.Umask(0o077)
	e := withBusybox(t)
	unix.Umask(old)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "Dockerfile"), []byte("FROM busybox\nWORKDIR /w/x\nCOPY Dockerfile /d/e/\n"))
	if err := os.Chmod(filepath.Join(dir, "Dockerfile"), 0o644); err != nil {
		t.Fatal(err)
	}
	e.Hoy("build", "-q", "-t", "built", dir)
	e.holds([][3]string{
		{"run --rm -u 1000 busybox", "cat /etc/hosts /etc/resolv.conf /etc/hostname >/dev/null && echo read", "read"},
		{"run --rm -u 1000 built", "ls /w/x && head -n1 /d/e/Dockerfile", "FROM busybox"},
	})
	e.Hoy("rmi", "built")
}
