package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNamespaceModes joins the machine's and other containers' namespaces.
func TestNamespaceModes(t *testing.T) {
	e := withBusybox(t)
	e.Hoy("run", "-d", "--name", "donor", "--hostname", "donor", "--ipc", "shareable", "busybox", "sh", "-c", "echo shm >/dev/shm/donor; echo hosts >>/etc/hosts; exec sleep 1000")
	e.Hoy("run", "-d", "--name", "private", "busybox", "sleep", "1000")
	e.Hoy("create", "--name", "stopped", "--ipc", "shareable", "busybox", "true")
	pid := e.Hoy("inspect", "-f", "{{.State.Pid}}", "donor")
	ns := func(pid, kind string) string {
		t.Helper()
		link, err := os.Readlink(filepath.Join("/proc", pid, "ns", kind))
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	const see = "readlink /proc/self/ns/"
	e.Eventually("the donor", func() bool { return e.Try("exec", "donor", "grep", "hosts", "/etc/hosts").Code == 0 })
	shm := filepath.Join("/dev/shm", filepath.Base(t.TempDir())+"-"+pid)
	writeFile(t, shm, []byte("machine's\n"))
	defer os.Remove(shm)
	e.holds([][3]string{
		{"run --rm --pid container:donor busybox", see + "pid; tr '\\0' ' ' </proc/1/cmdline", ns(pid, "pid") + "\nsleep 1000"},
		{"run --rm --ipc container:donor busybox", see + "ipc; cat /dev/shm/donor", ns(pid, "ipc") + "\nshm"},
		{"run --rm --network container:donor busybox", see + "net; hostname; grep -c hosts /etc/hosts", ns(pid, "net") + "\ndonor\n1"},
		{"run --rm --pid host busybox", see + "pid", ns("self", "pid")},
		{"run --rm --ipc host busybox", see + "ipc; cat " + shm, ns("self", "ipc") + "\nmachine's"},
		{"run --rm --uts host busybox", see + "uts", ns("self", "uts")},
		{"run --rm --cgroupns host busybox", see + "cgroup", ns("self", "cgroup")},
		{"run --rm --ipc none busybox", "ls -d /dev/shm; mount | grep -c /dev/shm", "/dev/shm\n0"},
		{"run --rm --ipc private busybox", "ls /dev/shm", ""},
		{"run --rm --cgroup-parent /hoy-modes/" + pid + ".slice --cgroupns host busybox", "grep -c /hoy-modes/" + pid + ".slice/ /proc/self/cgroup | sed s/0/none/", cgroupLines(t)},
	})
	// What joined the IPC namespace can be joined in its turn.
	e.Hoy("run", "-d", "--name", "second", "--ipc", "container:donor", "busybox", "sleep", "1000")
	e.holds([][3]string{{"run --rm --ipc container:second busybox", "cat /dev/shm/donor", "shm"}})
	for flags, want := range map[string]string{
		"--pid container:nobody":          "No such container: nobody",
		"--pid container:stopped":         "failed to join PID namespace: container ",
		"--ipc container:stopped":         " is not running",
		"--ipc container:private":         "non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
		"--network container:stopped":     "cannot join network namespace of a non running container: container stopped is created",
		"--network container:nobody":      "No such container: nobody",
		"--network container:donor -h me": "conflicting options: hostname and the network mode",
		"--uts host -h me":                "conflicting options: hostname and the UTS mode",
		"--cgroup-parent a/../b":          `invalid cgroup-parent "a/../b"`,
		"--pid nonsense":                  "invalid PID mode",
	} {
		r := e.Try(append(append([]string{"run", "--rm"}, strings.Fields(flags)...), "busybox", "true")...)
		if r.Code != 125 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %+v, want %q", flags, r, want)
		}
	}
	e.Hoy("rm", "-f", "second", "donor", "private", "stopped")
	removeParent(t, "hoy-modes/"+pid+".slice")
	e.nothingLeft()
}

// cgroupLines is how many hierarchies a container has a group in.
func cgroupLines(t *testing.T) string {
	t.Helper()
	if IsV2() {
		return "1"
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range dirs {
		switch filepath.Base(filepath.Dir(d)) {
		case "freezer", "systemd": // of no use to a container here
		default:
			n++
		}
	}
	return string(rune('0' + n))
}

// removeParent removes the groups that --cgroup-parent has made, which stay as docker's.
func removeParent(t *testing.T, group string) {
	t.Helper()
	for group != "." {
		below, err1 := filepath.Glob("/sys/fs/cgroup/*/" + group)
		unified, err2 := filepath.Glob("/sys/fs/cgroup/" + group) // with v1 that is a tmpfs, which may be read-only
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		for _, d := range append(below, unified...) {
			if err := os.Remove(d); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		}
		group = filepath.Dir(group)
	}
}
