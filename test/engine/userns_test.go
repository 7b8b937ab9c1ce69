package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// mappedRoot is what --userns-remap=default makes of the container's root.
const mappedRoot = "1879048192"

// remapped starts an engine whose containers have user namespaces.
func remapped(t *testing.T) *Engine {
	t.Helper()
	rootful.Check(t)
	e := Start(t, "--userns-remap", "default")
	e.ImportBusybox()
	return e
}

// holds runs shell commands in containers and compares what they print.
func (e *Engine) holds(table [][3]string) {
	e.t.Helper()
	for _, c := range table {
		r := e.Try(append(strings.Fields(c[0]), "sh", "-c", c[1])...)
		if got := strings.TrimSpace(r.Stdout + r.Stderr); got != c[2] {
			e.t.Errorf("hoy %s: %s\n\tprints %q (exit code %d)\n\twant   %q", c[0], c[1], got, r.Code, c[2])
		}
	}
}

// TestUserNamespace shows that root in the container is nobody on the machine, and has
// in the container what root has.
func TestUserNamespace(t *testing.T) {
	e := remapped(t)
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	writeFile(t, filepath.Join(dir, "of-root"), []byte("x"))
	theirs := writeFile(t, filepath.Join(dir, "of-theirs"), []byte("x"))
	if err := os.Chown(theirs, 1879048192, 1879048192); err != nil {
		t.Fatal(err)
	}
	const run = "run --rm busybox"
	e.holds([][3]string{
		{run, "echo $(cat /proc/self/uid_map) / $(cat /proc/self/gid_map)", "0 " + mappedRoot + " 65536 / 0 " + mappedRoot + " 65536"},
		{run, "id -u; stat -c '%u:%g %n' / /bin/busybox /home/app /etc/hosts /tmp /dev/pts /dev/shm /proc/1", "0\n0:0 /\n0:0 /bin/busybox\n1000:1000 /home/app\n0:0 /etc/hosts\n0:0 /tmp\n0:0 /dev/pts\n0:0 /dev/shm\n0:0 /proc/1"},
		{run, "touch /x && chown 1000:1000 /x && stat -c %u:%g /x && echo 127.0.0.9 a >>/etc/hosts && echo yes", "1000:1000\nyes"},
		{run, "echo to >/dev/stdout; echo null >/dev/null; head -c1 /dev/zero | wc -c", "to\n1"},
		{"run --rm --user app busybox", "id; echo to >/dev/stdout; touch ~/x && stat -c %u:%g ~/x", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\nto\n1000:1000"},
		{"run --rm --user app -w /new/dir busybox", "pwd; stat -c %u:%g .", "/new/dir\n0:0"},
		{"run --rm --read-only --tmpfs /run busybox", "touch /run/x && stat -c %u:%g /run /run/x; touch /x", "0:0\n0:0\ntouch: /x: Read-only file system"},
		{"run --rm --init busybox", "stat -c %N /proc/1/exe; exit 3", "'/proc/1/exe' -> '/sbin/docker-init'"},
		{"run --rm -v vol:/vol busybox", "stat -c %u:%g /vol; echo x >/vol/x; stat -c %u:%g /vol/x; chown app /vol/x", "0:0\n0:0"},
		{"run --rm -v vol:/vol --user app busybox", "stat -c %u:%g /vol/x; echo y >>/vol/x; cat /vol/x", "1000:0\nx\ny"},
		{"run --rm -v copied:/home busybox", "stat -c %u:%g /home /home/app; touch /home/app/x && echo made", "0:0\n1000:1000\nmade"},
		{"run --rm -v " + dir + ":/b busybox", "stat -c %u:%g /b/of-root /b/of-theirs; echo y >/b/of-theirs; (echo y >/b/of-root) 2>&1", "65534:65534\n0:0\nsh: can't create /b/of-root: Permission denied"},
		{"run --rm -v " + dir + "/new/sub:/b busybox", "stat -c %u:%g /b; touch /b/x && echo made", "0:0\nmade"},
		{"run --rm --userns host -v vol:/vol busybox", "echo $(cat /proc/self/uid_map); stat -c %u:%g /bin/busybox /vol/x; touch /new", "0 0 4294967295\n0:0\n1000:0"},
		{"run --rm --userns host --privileged busybox", "mount -t tmpfs none /mnt 2>/dev/null || mkdir /m && mount -t tmpfs none /m && echo mounted", "mounted"},
	})
	for _, c := range [][2]string{
		{"--privileged", "privileged mode is incompatible with user namespaces"},
		{"--network host", "cannot share the host's network namespace when user namespaces are enabled"},
		{"--pid host", "cannot share the host PID namespace when user namespaces are enabled"},
	} {
		r := e.Try(append(append([]string{"run", "--rm"}, strings.Fields(c[0])...), "busybox", "true")...)
		if r.Code != 125 || !strings.Contains(r.Stderr, c[1]) {
			t.Errorf("%s: %+v", c[0], r)
		}
	}
	e.Hoy("volume", "rm", "vol", "copied")
	e.nothingLeft()
}

// TestUserNamespaceOfExec enters a running container in all ways.
func TestUserNamespaceOfExec(t *testing.T) {
	e := remapped(t)
	e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
	pid := e.Hoy("inspect", "-f", "{{.State.Pid}}", "con")
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	if want := strings.Repeat("\t"+mappedRoot, 4); !strings.Contains(string(status), "Uid:"+want) || !strings.Contains(string(status), "Gid:"+want) {
		t.Errorf("on the machine it is\n%s", status)
	}
	crashes["engine"](e)
	for range 2 { // as the engine remembers it, and as it adopts it
		e.holds([][3]string{
			{"exec con", "id -u; cat /proc/self/oom_score_adj; [ $(readlink /proc/self/ns/user) = $(readlink /proc/1/ns/user) ] && echo 1; echo to >/dev/stdout", "0\n0\n1\nto"},
			{"exec --user app con", "id -u; echo to >/dev/stdout; touch /x", "1000\nto\ntouch: /x: Permission denied"},
			{"exec -w /tmp con", "pwd", "/tmp"},
		})
		if out, code := e.Terminal("stat -c owner:%u `tty`; exit 4\n", "exec", "-it", "con", "sh"); !strings.Contains(out, "owner:0") || code != 4 {
			t.Errorf("exec -it: exit code %d: %q", code, out)
		}
		crashes["engine"](e)
	}
	if out, code := e.Terminal("stat -c owner:%u `tty` /dev/console; exit 4\n", "run", "--rm", "-it", "busybox", "sh"); strings.Count(out, "owner:0") != 2 || code != 4 {
		t.Errorf("run -it: exit code %d: %q", code, out)
	}
	e.Hoy("stop", "-t", "0", "con")
	if code := e.Hoy("inspect", "-f", "{{.State.ExitCode}}", "con"); code != "137" {
		t.Errorf("exit code %s", code)
	}
	e.Hoy("start", "con")
	e.holds([][3]string{{"exec con", "echo again $(stat -c %u /)", "again 0"}})
	e.Hoy("rm", "-f", "con")
	e.nothingLeft()
}

// TestUserNamespaceAndNetworks shows that a container's user namespace owns its network
// namespace, also when another joins it, who then shares both.
func TestUserNamespaceAndNetworks(t *testing.T) {
	e := remapped(t)
	for _, n := range []string{"none", "bridge"} {
		r := e.Try("run", "--rm", "--network", n, "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", "ip link set lo down && ip link set lo up && ip -o link | wc -l && cat /sys/class/net/lo/ifindex")
		if want := map[string]string{"none": "1\n1\n", "bridge": "2\n1\n"}[n]; r.Stdout != want {
			t.Errorf("network %s: %+v", n, r)
		}
	}
	e.Hoy("run", "-d", "--name", "con-a", "--cap-add", "NET_ADMIN", "busybox", "httpd", "-f", "-h", "/etc")
	e.Eventually("the server", func() bool { return httpGet("http://"+address(e, "con-a")+"/passwd") == nil })
	e.Hoy("run", "-d", "--name", "con-b", "--network", "container:con-a", "--cap-add", "NET_ADMIN", "busybox", "sleep", "1000")
	for _, kind := range []string{"net", "user"} {
		of := func(name string) string {
			l, err := os.Readlink(fmt.Sprintf("/proc/%s/ns/%s", e.Hoy("inspect", "-f", "{{.State.Pid}}", name), kind))
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		if of("con-a") != of("con-b") {
			t.Errorf("%s namespaces: %s and %s", kind, of("con-a"), of("con-b"))
		}
	}
	e.holds([][3]string{
		{"exec con-b", "wget -qO- http://127.0.0.1/group | head -n1; stat -c %u / /etc/passwd; ip link set lo down && ip link set lo up; touch /x && stat -c %u /x", "root:x:0:\n0\n0\n0"},
		{"run --rm --ipc shareable busybox", "stat -c %u:%a /dev/shm", "0:1777"},
	})
	e.Hoy("rm", "-f", "con-a", "con-b")
	e.nothingLeft()
}
