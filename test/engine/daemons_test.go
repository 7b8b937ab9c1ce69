package engine

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoy/test/rootful"
)

// debian returns the root file system tar of a Debian with nginx and redis, made by
// test/debian.sh at first use and kept for later runs.
func debian(t *testing.T) string {
	t.Helper()
	dir := "/var/tmp/hoy-test"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "debian.tar")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	// Packages come over the network: outside of the test's own network namespace.
	if out, err := rootful.OnHostNetwork(exec.Command(filepath.Join(Root(), "test/debian.sh"), path)).CombinedOutput(); err != nil {
		t.Fatalf("cannot make a Debian userland: %v\n%s", err, out)
	}
	return path
}

func address(e *Engine, name string) string {
	return e.Hoy("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
}

// TestRealDaemons runs nginx and redis of a Debian userland: detached, answering on
// their addresses, logging, and stopping within their grace period.
func TestRealDaemons(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.Hoy("import", debian(t), "debian")

	e.Hoy("run", "-d", "--name", "web", "debian", "nginx", "-g", "daemon off; error_log /dev/stderr notice;")
	e.Eventually("nginx answers", func() bool { return httpGet("http://"+address(e, "web")) == nil })
	e.Eventually("nginx logs", func() bool { return strings.Contains(e.Try("logs", "web").Stderr, "start worker process") })
	e.Hoy("stop", "web")
	if s := e.Hoy("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", "web"); s != "0 false" {
		t.Errorf("nginx was stopped, but not by its own choice: %s", s)
	}

	e.Hoy("run", "-d", "--name", "db", "--user", "redis", "-v", "dbdata:/var/lib/redis", "-w", "/var/lib/redis", "debian", "redis-server", "--protected-mode", "no", "--bind", "*")
	ask := func(cmd string) string { return redis(address(e, "db"), cmd) }
	e.Eventually("redis answers", func() bool { return ask("PING") == "+PONG" })
	if got := ask("SET key value"); got != "+OK" {
		t.Errorf("redis: SET: %q", got)
	}
	if got := e.Hoy("exec", "db", "redis-cli", "GET", "key"); got != "value" {
		t.Errorf("redis-cli in the container: %q", got)
	}
	e.Hoy("stop", "db")
	if log := e.Hoy("logs", "db"); !strings.Contains(log, "User requested shutdown") || e.Hoy("inspect", "-f", "{{.State.ExitCode}}", "db") != "0" {
		t.Errorf("redis did not stop by itself:\n%s", tail(log))
	}
	e.Hoy("start", "db")
	e.Eventually("redis answers again", func() bool { return ask("PING") == "+PONG" })
	if got := ask("GET key"); !strings.HasPrefix(got, "$5") {
		t.Errorf("redis lost its data: %q", got)
	}
}

// redis sends one inline command and returns the first line of the answer.
func redis(ip, cmd string) string {
	c, err := net.DialTimeout("tcp", ip+":6379", time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write([]byte(cmd + "\r\n")); err != nil {
		return err.Error()
	}
	b := make([]byte, 256)
	n, err := c.Read(b)
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(b[:n]), "\r\n")
	return line
}

// TestPackagesFromInside updates the package lists of a Debian container on the
// bridge: names resolve and packets get out and back.
func TestPackagesFromInside(t *testing.T) {
	rootful.Check(t)
	tar := debian(t)
	e := StartOnHostNetwork(t)
	e.Hoy("import", tar, "debian")
	r := e.Try("run", "--rm", "debian", "apt-get", "-o", "Acquire::Retries=3", "update")
	if r.Code != 0 || !strings.Contains(r.Stdout, "Reading package lists") || strings.Contains(r.Stdout+r.Stderr, "Err:") {
		t.Errorf("apt-get update: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// TestSharedImages runs the official images that come with the tests' data, where
// that data is there.
func TestSharedImages(t *testing.T) {
	archives, _ := filepath.Glob(filepath.Join(Root(), "../shared/images/*.tar*"))
	if len(archives) == 0 {
		t.Skip("no ../shared/images here: the images that the other tests make themselves stand in")
	}
	rootful.Check(t)
	e := Start(t)
	for _, a := range archives {
		name := strings.ToLower(strings.SplitN(filepath.Base(a), ".", 2)[0])
		if strings.HasSuffix(a, ".oci.tar") {
			out := e.Hoy("load", "-i", a)
			_, ref, ok := strings.Cut(out, ": ")
			if !ok {
				t.Fatalf("load %s: %s", filepath.Base(a), out)
			}
			name = strings.Fields(ref)[0]
		} else {
			e.Hoy("import", a, name)
		}
		if got := e.Hoy("run", "--rm", name, "sh", "-c", "echo $((6*7)) && cat /etc/passwd | head -n 1"); !strings.HasPrefix(got, "42\nroot:") {
			t.Errorf("%s: %q", filepath.Base(a), got)
		}
		e.Hoy("run", "-d", "--name", "web", name, "sh", "-c", "mkdir -p /www; echo hi >/www/index.html; (busybox httpd -f -h /www || nc -lk -p 80 -e echo) & trap 'exit 0' TERM; echo ready; wait")
		e.Eventually("the trap", func() bool { return strings.Contains(e.Try("logs", "web").Stdout, "ready") })
		if !strings.Contains(a, "alpine") {
			e.Eventually("httpd of "+name, func() bool { return httpGet("http://"+address(e, "web")) == nil })
		}
		e.Hoy("stop", "web")
		if code := e.Hoy("inspect", "-f", "{{.State.ExitCode}}", "web"); code != "0" {
			t.Errorf("%s: stopped with %s", name, code)
		}
		e.Hoy("rm", "web")
	}
}
