// Package systemd installs hoy's package in a Debian that systemd has booted, and shows
// that containers run, log and serve whatever happens to the engine's service.
//
// The Debian is itself a container of hoy's, privileged, with the unified hierarchy at
// /sys/fs/cgroup, whatever this machine has there.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"hoy/test/engine"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// userland returns a Debian with systemd, made at first use and kept for later runs.
func userland(t *testing.T, suite string) string {
	t.Helper()
	path := "/var/tmp/hoy-test/systemd-" + suite + ".tar"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	outside(t, filepath.Join(engine.Root(), "test/debian.sh"), path, "systemd,systemd-sysv,dbus,procps", suite)
	return path
}

// outside runs a command that may fetch packages and modules.
func outside(t *testing.T, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = engine.Root()
	c.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	if out, err := rootful.OnHostNetwork(c).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// packages builds the .deb, and once more as a later version, and returns their directory.
func packages(t *testing.T) string {
	t.Helper()
	engine.Bin(t, "hoyd")
	outside(t, "make", "-s", "package")
	dir := t.TempDir()
	for name, version := range map[string]string{"old.deb": "0.0.1", "new.deb": "99.0.0"} {
		outside(t, "env", "VERSION="+version, "ARCH="+runtime.GOARCH, "go", "tool", "-modfile=tools/go.mod", "nfpm", "package",
			"-f", "packaging/nfpm.yaml", "-p", "deb", "-t", filepath.Join(dir, name))
	}
	return dir
}

// boot replaces the control groups by the unified hierarchy, and becomes systemd.
const boot = `umount -l -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec /lib/systemd/systemd`

// machine is the booted Debian.
type machine struct {
	t *testing.T
	e *engine.Engine
}

func start(t *testing.T, suite, debs string) *machine {
	m := &machine{t, engine.Start(t, "--default-address-pool", "base=10.77.0.0/16,size=24")}
	m.e.Hoy("import", userland(t, suite), suite)
	m.e.Hoy("run", "-d", "--name", "machine", "--privileged", "--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/tmp", "-e", "container=oci",
		"-v", debs+":/debs:ro", "-v", "machine:/var/lib/hoy", "--stop-signal", "SIGRTMIN+3", suite, "/bin/sh", "-c", boot)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.e.Try("ps", "-a").Stdout, m.e.Try("logs", "machine"), m.e.Try("exec", "machine", "sh", "-c", "systemctl is-system-running; systemctl list-jobs --no-pager; systemctl --failed --no-pager; ps axf"))
		}
	})
	m.e.Eventually("systemd has started", func() bool {
		state := strings.TrimSpace(m.e.Try("exec", "machine", "systemctl", "is-system-running").Stdout)
		return state == "running" || state == "degraded" // no modules can be loaded in a container
	})
	return m
}

// sh runs a command in the machine, which must succeed, and returns what it printed.
func (m *machine) sh(command string) string {
	m.t.Helper()
	r := m.e.Try("exec", "machine", "sh", "-c", command)
	if r.Code != 0 {
		m.t.Fatalf("%s: exit code %d\n%s%s\n%s", command, r.Code, r.Stdout, r.Stderr,
			m.e.Try("exec", "machine", "journalctl", "-n", "50", "--no-pager", "-u", "hoy.service", "-u", "hoy.socket").Stdout)
	}
	return strings.TrimSpace(r.Stdout)
}

func (m *machine) want(command, want string) {
	m.t.Helper()
	if got := m.sh(command); got != want {
		m.t.Errorf("%s: %q, want %q", command, got, want)
	}
}

func (m *machine) enginePid() string { return m.sh("systemctl show -P MainPID hoy") }

// TestPackage: socket activation, access by group, restart, reload, crash, upgrade and
// removal, and the same container through all of it.
func TestPackage(t *testing.T) {
	if os.Getenv("HOY_SYSTEMD") == "" {
		t.Skip("boots two Debians, which takes minutes: 'make systemd' runs it")
	}
	rootful.Need(t)
	debs := packages(t) // before Check: go leaves a process behind that counts its uses
	rootful.Check(t)
	for suite, group := range map[string]string{
		"trixie":   "/system.slice/hoy.service/containers/", // systemd 257 puts the engine into a group of its own
		"bookworm": "/hoy/",                                 // systemd 252 does not
	} {
		t.Run(suite, func(t *testing.T) {
			m := start(t, suite, debs)
			m.install()
			w := m.startWeb(group)
			m.leafGroups(suite == "trixie")
			m.access()
			for what, command := range map[string]string{
				"restart": "systemctl restart hoy",
				"crash":   "kill -KILL $(systemctl show -P MainPID hoy)",
				"upgrade": "dpkg -i /debs/new.deb >/dev/null",
			} {
				w.survives(what, command)
			}
			m.want("systemctl reload hoy && systemctl is-active hoy", "active")
			w.survives("removal", "dpkg -r hoy >/dev/null; test ! -e /usr/bin/hoyd; dpkg -i /debs/new.deb >/dev/null")
			m.sh("hoy rm -f web")
		})
	}
}

// install shows what the package brings, and that its socket waits for a client.
func (m *machine) install() {
	m.t.Helper()
	m.sh("dpkg -i /debs/old.deb")
	m.want("systemctl is-enabled hoy.socket hoy.service", "enabled\nenabled")
	m.want("systemctl is-active hoy.socket hoy.service || :", "active\ninactive")
	m.want("stat -c '%U %G %a' /run/hoy/hoy.sock", "root hoy 660")
	m.sh("systemd-analyze verify --man=no hoy.service hoy.socket 2>&1 | grep -v DelegateSubgroup | grep hoy && exit 1 || :")
	m.sh("hoyd serve --validate && test -s /usr/share/man/man1/hoy-run.1 && bash -n /usr/share/bash-completion/completions/hoy")
}

// access shows who may use the engine.
func (m *machine) access() {
	m.t.Helper()
	m.sh("useradd --groups hoy friend && useradd stranger")
	m.want("runuser -u friend -- hoy ps --format '{{.Names}}'", "web")
	m.want("runuser -u stranger -- hoy ps 2>&1 | grep -c 'permission denied'", "1")
}

// leafGroups shows that no process is in a group with groups below, where the engine is
// in what systemd has delegated.
func (m *machine) leafGroups(delegated bool) {
	m.t.Helper()
	if !delegated {
		m.want("cat /sys/fs/cgroup/hoy/cgroup.procs", "")
		return
	}
	const service = "/sys/fs/cgroup/system.slice/hoy.service/"
	m.want("cat "+service+"cgroup.procs "+service+"containers/cgroup.procs", "")
	m.want("cat "+service+"engine/cgroup.procs", m.enginePid())
	m.want("cat "+service+"keeper/cgroup.procs | head -n 1", m.sh("cat /run/hoy/keeper.pid"))
}

// web is a container that serves and counts aloud.
type web struct {
	*machine
	pid, address string
}

func (m *machine) startWeb(group string) *web {
	m.t.Helper()
	m.sh(`hoy run -d --name web hoy/toolbox sh -c 'httpd -h / & i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done'`)
	m.want("systemctl is-active hoy.service", "active") // the socket has started it
	w := &web{machine: m, pid: m.sh("hoy inspect -f '{{.State.Pid}}' web"),
		address: m.sh("hoy inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' web")}
	m.e.Eventually("the container serves", func() bool { return w.request().Code == 0 })
	if got := m.sh("grep ^0:: /proc/" + w.pid + "/cgroup"); !strings.HasPrefix(got, "0::"+group) {
		m.t.Errorf("the container's group is %s", got)
	}
	return w
}

// survives does something to the engine's service, while a client asks the container all
// the time. The container is the same afterwards, it has answered every time, and its log
// has every line once.
func (w *web) survives(what, command string) {
	w.t.Helper()
	engine, done, asked := w.enginePid(), make(chan struct{}), make(chan []string)
	go func() { asked <- w.ask(done) }()
	w.sh(command)
	w.want("hoy inspect -f '{{.State.Running}} {{.State.Pid}}' web", "true "+w.pid)
	w.e.Eventually("the log goes on after "+what, func() bool {
		before := w.logged()
		return before > 0 && w.logged() > before
	})
	close(done)
	for _, failure := range <-asked {
		w.t.Errorf("%s: the container did not answer: %s", what, failure)
	}
	if now := w.enginePid(); now == engine {
		w.t.Errorf("%s: the engine is still process %s", what, engine)
	}
}

// ask asks the container until done is closed, and returns what failed.
func (w *web) ask(done <-chan struct{}) (failures []string) {
	for {
		if r := w.request(); r.Code != 0 {
			failures = append(failures, r.Stdout+r.Stderr+w.sh("cat /proc/net/tcp /proc/"+w.pid+"/net/tcp /proc/net/arp"))
		}
		select {
		case <-done:
			return failures
		default:
		}
	}
}

// request asks the container once.
func (w *web) request() engine.Result {
	const get = `exec 3<>/dev/tcp/$0/80 && printf 'GET /etc/hostname HTTP/1.0\r\n\r\n' >&3 && head -n 1 <&3 | grep ' 200 '`
	return w.e.Try("exec", "machine", "timeout", "30", "bash", "-c", get, w.address)
}

// logged returns how far the container has counted in its log, in which no number may
// be missing.
func (w *web) logged() int {
	w.t.Helper()
	lines := strings.Fields(w.sh("hoy logs web"))
	for i, l := range lines {
		if l != strconv.Itoa(i+1) {
			w.t.Fatalf("line %d of the log is %q", i+1, l)
		}
	}
	return len(lines)
}
