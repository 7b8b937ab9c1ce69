package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestDefaultContainer shows what a container without any options is.
func TestDefaultContainer(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.expect(strings.Join([]string{
			"box (none)",
			"[1]",
			"0 0 []",
			"/",
			"0022",
			"CapInh: 0000000000000000",
			"CapPrm: 00000000a80425fb",
			"CapEff: 00000000a80425fb",
			"CapBnd: 00000000a80425fb",
			"CapAmb: 0000000000000000",
			"NoNewPrivs: 0",
			"Seccomp: 2",
			"SigBlk: 0000000000000000",
			"SigIgn: 0000000000000000",
		}, "\n"), "hostname", ",", "pids", ",", "ids", ",", "cwd", ",", "umask", ",",
			"status", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", ",", "sigmask")
	})
}

func TestDescriptorsAreOnlyTheStandardOnes(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		out := strings.Split(b.run("fds"), "\n")
		if len(out) != 3 {
			t.Errorf("open descriptors:\n%s", strings.Join(out, "\n"))
		}
		for i, l := range out {
			if !strings.HasPrefix(l, fmt.Sprint(i)+" ") {
				t.Errorf("descriptor %d is %q", i, l)
			}
		}
	})
}

func TestMaskedPathsAreEmpty(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		for _, p := range b.spec.Linux.MaskedPaths {
			st, err := os.Lstat(p)
			switch {
			case err != nil: // not in this kernel
			case st.IsDir():
				b.expect(p+": \nopen "+p+"/x: no such file or directory", "ls", p, ",", "open", p+"/x")
				if !strings.Contains(b.run("mounts", p), p+" tmpfs tmpfs ro,") {
					t.Errorf("%s is not covered by a read-only tmpfs", p)
				}
			default:
				b.expect(p+" 20666 "+b.hostRoot()+" 1,3", "cat", p, ",", "stat", p)
			}
		}
	})
}

func TestReadOnlyPaths(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Linux.ReadonlyPaths = append(b.spec.Linux.ReadonlyPaths, "/etc", "/none")
		for _, p := range b.spec.Linux.ReadonlyPaths[:5] {
			if _, err := os.Lstat(p); err != nil {
				continue // not in this kernel
			}
			if out := b.run("mounts", p); !strings.HasPrefix(out, p+" proc proc ro,nosuid,nodev,noexec,relatime") {
				t.Errorf("%s is not read-only: %s", p, out)
			}
		}
		b.expect("write /etc/x: read-only file system", "write", "/etc/x", "1")
		want := "write /proc/sys/kernel/domainname: read-only file system"
		if b.userNS {
			want = "write /proc/sys/kernel/domainname: permission denied"
		}
		b.expect(want, "write", "/proc/sys/kernel/domainname", "x")
	})
}

// hostRoot is how "uid:gid" of the host's root looks in the container.
func (b *box) hostRoot() string {
	if b.userNS {
		return "65534:65534"
	}
	return "0:0"
}

func TestWhatIsForbidden(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.expect(strings.Join([]string{
			"mount: operation not permitted", "umount: operation not permitted", "reboot: operation not permitted",
			"kexec: operation not permitted", "module: operation not permitted", "keyctl: operation not permitted",
			"unshare user: operation not permitted", "unshare mnt: operation not permitted",
			"raw socket: allowed", "setuid: allowed",
		}, "\n"), "mount", ",", "umount", "/proc", ",", "reboot", ",", "kexec", ",", "module", ",", "keyctl", ",",
			"unshare", "user", ",", "unshare", "mnt", ",", "ping", ",", "setuid", "1000")
	})
}

func TestDev(t *testing.T) {
	core := ""
	if _, err := os.Stat("/proc/kcore"); err == nil {
		core = "core "
	}
	inBothModes(t, func(t *testing.T, b *box) {
		b.expect(strings.Join([]string{
			"/dev: " + core + "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
			"/dev/null 20666 0:0 1,3", "/dev/zero 20666 0:0 1,5", "/dev/full 20666 0:0 1,7", "/dev/random 20666 0:0 1,8",
			"/dev/urandom 20666 0:0 1,9", "/dev/tty 20666 0:0 5,0",
			"/dev 40755 0:0", "/dev/pts 40755 0:0", "/dev/pts/ptmx 20666 0:0 5,2", "/dev/shm 41777 0:0", "/dev/mqueue 41777 0:0",
			"/dev/fd /proc/self/fd", "/dev/ptmx pts/ptmx",
			"open /dev/null: allowed", "open /dev/zero: allowed", "open /dev/urandom: allowed", "open /dev/ptmx: allowed", "write /dev/shm/x: allowed",
		}, "\n"), "ls", "/dev", ",",
			"stat", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev", "/dev/pts", "/dev/pts/ptmx", "/dev/shm", "/dev/mqueue", ",",
			"readlink", "/dev/fd", ",", "readlink", "/dev/ptmx", ",",
			"open", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/ptmx", ",", "write", "/dev/shm/x", "x")
	})
}

func TestMountsOfADefaultContainer(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		out := b.sorted("mounts", "/proc", "/dev", "/dev/pts", "/sys", "/dev/mqueue", "/dev/shm", "/proc/sys")
		b.same(strings.Join([]string{
			"/dev tmpfs tmpfs rw,nosuid ",
			"/dev/mqueue mqueue mqueue rw,nosuid,nodev,noexec,relatime ",
			"/dev/pts devpts devpts rw,nosuid,noexec,relatime ",
			"/dev/shm tmpfs shm rw,nosuid,nodev,noexec,relatime ",
			"/proc proc proc rw,nosuid,nodev,noexec,relatime ",
			"/proc/sys proc proc ro,nosuid,nodev,noexec,relatime ",
			"/sys sysfs sysfs ro,nosuid,nodev,noexec,relatime ",
		}, "\n"), out)
		if all := b.run("mounts"); strings.Contains(all, b.lower) || strings.Contains(all, "/sys/fs/cgroup ") {
			t.Errorf("the host's mounts are visible:\n%s", all)
		}
	})
}

func (b *box) sorted(args ...string) string {
	lines := strings.Split(b.run(args...), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (b *box) same(want, got string) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNamespacesAreNew(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		out := b.run("ns", "pid", "mnt", "net", "ipc", "uts", "cgroup", "user")
		for _, l := range strings.Split(out, "\n") {
			kind, _, _ := strings.Cut(l, ":")
			own, err := os.Readlink("/proc/self/ns/" + kind)
			if err != nil {
				t.Fatal(err)
			}
			if shared := l == own; shared != (kind == "user" && !b.userNS) {
				t.Errorf("%s namespace: %s, the host's is %s", kind, l, own)
			}
		}
		if !b.userNS { // the pool brings it up there
			b.expect("lo true", "links")
		}
	})
}

func TestHostNamespaces(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}}
		b.spec.Hostname = "" // the host's stays
		b.c.NetNS = nil
		if b.userNS { // mqueue shows the IPC namespace, which belongs to the host's root
			b.spec.Mounts = append(b.spec.Mounts[:4:4], b.spec.Mounts[5:]...)
		}
		for _, l := range strings.Split(b.run("ns", "net", "ipc", "uts", "cgroup"), "\n") {
			kind, _, _ := strings.Cut(l, ":")
			if own, _ := os.Readlink("/proc/self/ns/" + kind); l != own {
				t.Errorf("%s is not the host's %s", l, own)
			}
		}
		b.expect("/sys/firmware: ", "ls", "/sys/firmware")
		if out := b.run("mounts", "/sys"); !strings.HasPrefix(out, "/sys sysfs sysfs ro,nosuid,nodev,noexec,relatime") {
			t.Errorf("/sys is %s", out)
		}
	})
}

func TestJoinNamespaces(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		holder := b.start("hold")
		path := func(kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", holder.child.Pid, kind) }
		want := map[string]string{}
		for _, k := range []string{"net", "ipc", "uts"} {
			want[k], _ = os.Readlink(path(k))
		}
		b.spec.Linux.Namespaces = []specs.LinuxNamespace{
			{Type: specs.NetworkNamespace, Path: path("net")}, {Type: specs.IPCNamespace, Path: path("ipc")},
			{Type: specs.UTSNamespace, Path: path("uts")}, {Type: specs.MountNamespace}, {Type: specs.PIDNamespace},
		}
		if b.userNS {
			b.c.NetNS = nil
		}
		b.spec.Hostname = ""
		out := b.run("ns", "net", "ipc", "uts", ",", "hostname")
		b.same(want["net"]+"\n"+want["ipc"]+"\n"+want["uts"]+"\nbox (none)", out)
		holder.kill()
	})
}

// TestSharedPIDNamespace has others see the child before its exec, so it is born in a
// helper process.
func TestSharedPIDNamespace(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		holder := b.start("hold")
		defer holder.kill()
		path := fmt.Sprintf("/proc/%d/ns/pid", holder.child.Pid)
		want, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		b.spec.Linux.Namespaces[0].Path = path
		b.same(want+"\n"+want, b.run("ns", "pid")+"\n"+b.run("readlink", "/proc/1/ns/pid")[len("/proc/1/ns/pid "):])
	})
}

func TestHostPIDNamespace(t *testing.T) {
	b := newBox(t, false) // a user namespace does not own the host's PID namespace, so it cannot mount its procfs
	b.spec.Linux.Namespaces = b.spec.Linux.Namespaces[1:]
	want, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	b.expect(want, "ns", "pid")
}

func TestNamesAndUmask(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		mask := uint32(0o077)
		b.spec.Hostname, b.spec.Domainname, b.spec.Process.User.Umask = "a", "example.org", &mask
		b.expect("a example.org\n0077", "hostname", ",", "umask")
	})
}

func TestUser(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 1002}}
		b.spec.Process.Capabilities.Effective, b.spec.Process.Capabilities.Permitted = nil, nil
		b.expect("1000 1001 [5 1002]\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapBnd: 00000000a80425fb\nwrite /x: permission denied",
			"ids", ",", "status", "CapPrm", "CapEff", "CapBnd", ",", "write", "/x", "1")
	})
}

func TestUserWithAmbientCapabilities(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		some := []string{"CAP_NET_BIND_SERVICE"}
		c := b.spec.Process.Capabilities
		c.Effective, c.Permitted, c.Inheritable, c.Ambient = some, some, some, some
		b.expect("CapPrm: 0000000000000400\nCapEff: 0000000000000400\nCapAmb: 0000000000000400", "status", "CapPrm", "CapEff", "CapAmb")
	})
}

func TestStdoutOfAUserCanBeOpened(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		b.expect("written\nwrite /dev/stdout: allowed", "write", "/dev/stdout", "written\n")
	})
}

func TestNoNewPrivileges(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Process.NoNewPrivileges = true
		b.expect("NoNewPrivs: 1\nSeccomp: 2", "status", "NoNewPrivs", "Seccomp")
	})
}

func TestWithoutSeccomp(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Linux.Seccomp = nil
		b.expect("Seccomp: 0", "status", "Seccomp")
	})
}

func TestLimits(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Process.Rlimits = []specs.POSIXRlimit{
			{Type: "RLIMIT_CORE", Soft: 0, Hard: 4096},
			{Type: "RLIMIT_NOFILE", Soft: 500, Hard: 500},
			{Type: "RLIMIT_NPROC", Soft: 1 << 40, Hard: 1 << 41}, // as much as there is
		}
		var own unix.Rlimit
		if err := unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &own); err != nil {
			t.Fatal(err)
		}
		limit := own
		if b.rt.held.Has("CAP_SYS_RESOURCE") {
			limit = unix.Rlimit{Cur: 1 << 40, Max: 1 << 41}
		} else {
			limit.Cur = min(1<<40, own.Max)
		}
		b.expect(fmt.Sprintf("core 0 4096\nnofile 500 500\nnproc %d %d", limit.Cur, limit.Max), "limits", "core", "nofile", "nproc")
	})
}

func TestLimitOfFilesIsTheUsualOne(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		var own unix.Rlimit
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &own); err != nil {
			t.Fatal(err)
		}
		// A Go program raises its own soft limit, so another one tells.
		b.copy("/bin/busybox", "bin/busybox")
		out, _ := b.start("!busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn").wait()
		b.same(fmt.Sprintf("1024\n%d\n", own.Max), out)
	})
}

func TestOOMScore(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		score := 300
		b.spec.Process.OOMScoreAdj = &score
		b.expect("300", "cat", "/proc/self/oom_score_adj")
		score = -1000 // as low as this process may go
		want := "-1000"
		if !b.rt.held.Has("CAP_SYS_RESOURCE") {
			want = fmt.Sprint(b.rt.oomScore)
		}
		b.expect(want, "cat", "/proc/self/oom_score_adj")
		b.spec.Process.OOMScoreAdj = nil
		b.expect(fmt.Sprint(b.rt.oomScore), "cat", "/proc/self/oom_score_adj")
		score = 300
		b.spec.Process.OOMScoreAdj = &score
		r := b.start("hold")
		defer r.kill()
		r.expectExec("300", nil, "cat", "/proc/self/oom_score_adj")
		r.expectExec(fmt.Sprint(b.rt.oomScore), func(e *Exec) { e.Process.OOMScoreAdj = nil }, "cat", "/proc/self/oom_score_adj")
	})
}

func TestSysctl(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.ip_unprivileged_port_start": "80"}
		b.expect("1\n80", "cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
		b.spec.Linux.Sysctl = map[string]string{"net.no_such": "1"}
		b.fails("cannot open kernel parameter net.no_such: openat: no such file or directory", "ids")
	})
}

func TestReadOnlyRoot(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Root = &specs.Root{Readonly: true}
		b.mount("tmpfs", "tmpfs", "/new/place")
		b.expect("write /x: read-only file system\nwrite /new/place/x: allowed", "write", "/x", "1", ",", "write", "/new/place/x", "1")
	})
}

func TestWorkingDirectoryIsCreated(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.link("way", "/srv")
		b.spec.Process.Cwd = "/way/a/b"
		b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		b.expect("/srv/a/b\n/srv/a/b 40755 0:0\n/srv 40755 0:0", "cwd", ",", "stat", "/srv/a/b", "/srv")
	})
}

// TestWorkingDirectoryCannotLeave is CVE-2024-21626: descriptors that are open while
// the container is made must not be a way out of it.
func TestWorkingDirectoryCannotLeave(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		for fd := range 12 {
			b.spec.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd)
			r, err := b.try("cwd")
			if err == nil {
				out, _ := r.wait()
				t.Errorf("working directory %s was entered: %s", b.spec.Process.Cwd, out)
			} else if !strings.Contains(err.Error(), "cannot enter directory") {
				t.Error(err)
			}
		}
	})
}

func TestInitProcess(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.c.Init = true
		// The test init stands in for the real one: it does not know the command "--".
		out, status := b.start("ids").wait()
		if out != "init: no command \"--\"\n" || status.ExitStatus() != 2 {
			t.Errorf("got %q, status %d", out, status.ExitStatus())
		}
	})
}

func TestDirectoryAsRoot(t *testing.T) {
	b := newBox(t, false)
	f, err := os.OpenFile(b.lower, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b.spec.Process.Args = []string{"init", "write", "/mark", "x"}
	b.c.Root = f
	p, err := b.rt.Prepare(b.c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := &running{b: b, out: make(chan string, 1)}
	if err := launch(t, p, "", r); err != nil {
		t.Fatal(p.Explain(err))
	}
	out, _ := r.wait()
	b.same("write /mark: allowed\n", out)
	if _, err := os.Stat(filepath.Join(b.lower, "mark")); err != nil {
		t.Error(err)
	}
}
