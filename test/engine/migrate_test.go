package engine

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hoy/test/rootful"
)

// oldDocker is Debian's Docker, with images in its own overlay2 store, kept in the
// user's cache directory.
func oldDocker(t *testing.T) (bin string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache"
	}
	tree := filepath.Join(cache, "hoy-test", "docker-1")
	if _, err := os.Stat(tree); err != nil {
		work := t.TempDir()
		script := `set -e; apt-get download -qq docker.io containerd runc; for f in *.deb; do dpkg-deb -x $f tree; done; mkdir -p "$1"; mv tree "$2"`
		c := exec.Command("sh", "-c", script, "sh", filepath.Dir(tree), tree)
		c.Dir = work
		if out, err := rootful.OnHostNetwork(c).CombinedOutput(); err != nil {
			t.Fatalf("cannot fetch Debian's docker.io: %v\n%s", err, out)
		}
	}
	return filepath.Join(tree, "usr/sbin") + ":" + filepath.Join(tree, "usr/bin")
}

// docker is a Docker engine that is not ours.
type docker struct {
	t         *testing.T
	dir, path string
	daemon    *exec.Cmd
}

func startDocker(t *testing.T) *docker {
	t.Helper()
	d := &docker{t: t, dir: t.TempDir(), path: oldDocker(t)}
	log, err := os.Create(d.dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.daemon = exec.Command(strings.Split(d.path, ":")[0]+"/dockerd", "--data-root", d.dir+"/data", "--exec-root", d.dir+"/run", "--pidfile", d.dir+"/pid",
		"-H", d.host(), "--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "overlay2",
		"--cgroup-parent", "/hoy-reference-"+strconv.Itoa(os.Getpid()))
	d.daemon.Env = append(os.Environ(), "PATH="+d.path+":"+os.Getenv("PATH"))
	d.daemon.Stdout, d.daemon.Stderr = log, log
	if err := d.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	for range 300 {
		if c, err := net.Dial("unix", d.dir+"/s"); err == nil {
			c.Close()
			return d
		}
		time.Sleep(100 * time.Millisecond)
	}
	b, _ := os.ReadFile(d.dir + "/log")
	t.Fatalf("Debian's dockerd does not answer\n%s", b)
	return nil
}

func (d *docker) host() string { return "unix://" + d.dir + "/s" }

func (d *docker) stop() {
	if d.daemon == nil {
		return
	}
	d.daemon.Process.Signal(syscall.SIGTERM)
	d.daemon.Wait()
	d.daemon = nil
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/hoy-reference-" + strconv.Itoa(os.Getpid()))
	for _, g := range groups {
		os.Remove(g)
	}
}

// run runs a command of the docker client, with what it reads.
func (d *docker) run(stdin io.Reader, args ...string) string {
	d.t.Helper()
	c := exec.Command(filepath.Join(strings.Split(d.path, ":")[1], "docker"), append([]string{"-H", d.host()}, args...)...)
	c.Env = append(os.Environ(), "DOCKER_CONFIG="+d.dir)
	c.Stdin = stdin
	out, err := c.CombinedOutput()
	if err != nil {
		d.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestMigrateDocker takes over what a real Docker engine has made: layers bit for bit,
// volumes, and containers with the files that they have changed and deleted.
func TestMigrateDocker(t *testing.T) {
	rootful.Check(t)
	d := startDocker(t)
	d.run(bytes.NewReader(Busybox(t)), "import", "-", "base:1")
	d.run(nil, "volume", "create", "--label", "a=b", "data")
	d.run(nil, "run", "--network", "none", "--name", "made", "-v", "data:/data", "-v", "/anonymous", "-e", "KEY=value", "--stop-timeout", "3", "base:1", "sh", "-c",
		"echo kept >/data/f; chown 7:8 /data/f; echo hidden >/anonymous/g; rm /bin/yes; rm -r /etc; mkdir /etc; echo new >/etc/only; mkdir -m 700 /own; ln -s /bin/sh /own/link")
	d.run(nil, "commit", "made", "derived:2")
	d.run(nil, "tag", "derived:2", "derived:latest")
	d.run(nil, "create", "--name", "refused", "--network", "none", "--runtime", "runc", "-p", "80:80", "derived:2", "true")
	layers := d.run(nil, "inspect", "-f", "{{.RootFS.Layers}}", "derived:2")
	d.stop()

	e := Start(t)
	r := e.Try("migrate", "docker", "--data-root", d.dir+"/data")
	for _, want := range []string{"image base:1: taken over", "volume data: taken over", "container made: taken over"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("output lacks %q\n%s%s", want, r.Stdout, r.Stderr)
		}
	}
	if strings.Contains(r.Stdout, "refused: not taken") != (r.Code != 0) {
		t.Errorf("code %d with\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, name := range []string{"derived:2", "derived:latest"} {
		if got := e.Hoy("image", "inspect", "-f", "{{.RootFS.Layers}}", name); got != layers {
			t.Errorf("%s has layers %s, in Docker %s", name, got, layers)
		}
	}
	if got := e.Hoy("inspect", "-f", "{{.Config.Image}} {{.Config.Env}} {{.State.Status}} {{.Config.StopTimeout}}", "made"); !strings.HasPrefix(got, "base:1 [KEY=value") || !strings.HasSuffix(got, "created 3") {
		t.Errorf("container: %s", got)
	}
	if got := e.Hoy("volume", "inspect", "-f", "{{.Labels}}", "data"); got != "map[a:b]" {
		t.Errorf("labels of the volume: %s", got)
	}
	check := `cat /data/f; stat -c %u:%g /data/f; cat /anonymous/g; ls /etc; ls -d /bin/yes 2>&1; stat -c %a /own; readlink /own/link`
	want := "kept\n7:8\nhidden\nhostname\nhosts\nonly\nresolv.conf\nls: /bin/yes: No such file or directory\n700\n/bin/sh"
	if got := e.Hoy("run", "--rm", "--network", "none", "--volumes-from", "made", "derived:2", "sh", "-c", check); got != want {
		t.Errorf("in the committed image: %q\nwant %q", got, want)
	}
	// Its command runs again, over its own files.
	if r := e.Try("start", "-a", "made"); !strings.Contains(r.Stderr, "can't remove '/bin/yes': No such file") {
		t.Errorf("started again: %s", r.Stderr)
	}
	again := e.Try("migrate", "docker", "--data-root", d.dir+"/data")
	if !strings.Contains(again.Stdout, "container made: there is one of this name already") {
		t.Errorf("a second time: %s%s", again.Stdout, again.Stderr)
	}
	if bad := e.Try("migrate", "docker", "--data-root", d.dir); bad.Code != 1 || !strings.Contains(bad.Stderr, "is no data root of Docker") {
		t.Errorf("not a data root: code %d, %s", bad.Code, bad.Stderr)
	}
}
