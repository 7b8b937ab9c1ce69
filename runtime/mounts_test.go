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

// hostDir makes a directory on the host with one file, and a tmpfs below it.
func (b *box) hostDir() string {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("from the host\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := unix.Mount("below", below, "tmpfs", 0, ""); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { unix.Unmount(below, unix.MNT_DETACH) })
	return dir
}

func TestBind(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		dir := b.hostDir()
		b.mount("bind", dir, "/data", "rbind")
		b.expect(strings.Join([]string{
			"from the host",
			"write /data/new: allowed", "write /data/below/new: allowed",
			"/data/file 100644 0:0", "/data/new 100644 0:0",
		}, "\n"), "cat", "/data/file", ",", "write", "/data/new", "x", ",", "write", "/data/below/new", "x", ",", "stat", "/data/file", "/data/new")
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "new"), &st); err != nil || st.Uid != 0 {
			t.Errorf("on the host the new file belongs to %d (%v)", st.Uid, err)
		}
	})
}

func TestBindOfAFile(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		dir := b.hostDir()
		b.mount("bind", filepath.Join(dir, "file"), "/new/place", "bind", "ro")
		b.expect("from the host\nwrite /new/place: read-only file system", "cat", "/new/place", ",", "write", "/new/place", "x")
	})
}

func TestReadOnlyBinds(t *testing.T) {
	for _, tc := range []struct {
		option string
		below  string
	}{
		{"ro", "allowed"},
		{"rro", "read-only file system"},
	} {
		t.Run(tc.option, func(t *testing.T) {
			inBothModes(t, func(t *testing.T, b *box) {
				b.mount("bind", b.hostDir(), "/data", "rbind", tc.option)
				b.expect("write /data/x: read-only file system\nwrite /data/below/x: "+tc.below,
					"write", "/data/x", "1", ",", "write", "/data/below/x", "1")
			})
		})
	}
}

func TestBindIsNotRecursiveUnlessAsked(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		dir := b.hostDir()
		if err := os.WriteFile(filepath.Join(dir, "below", "hidden"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		b.mount("bind", dir, "/data", "bind")
		b.expect("/data/below: ", "ls", "/data/below")
	})
}

func TestBindFlags(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.mount("bind", b.hostDir(), "/data", "rbind", "nosuid", "nodev", "noexec", "noatime")
		if out := b.run("mounts", "/data"); !strings.Contains(out, " rw,nosuid,nodev,noexec,noatime") {
			t.Errorf("got %s", out)
		}
	})
}

func TestMissingBindSource(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.mount("bind", "/no/such/dir", "/data", "rbind")
		b.fails("cannot mount /data: cannot bind /no/such/dir: open_tree: no such file or directory", "ids")
	})
}

func TestPropagation(t *testing.T) {
	for _, tc := range []struct {
		option, inside string
	}{
		{"rprivate", ""},
		{"rslave", "master:"},
		{"rshared", "shared:"},
	} {
		t.Run(tc.option, func(t *testing.T) {
			inBothModes(t, func(t *testing.T, b *box) {
				dir := t.TempDir()
				if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
					t.Fatal(err)
				}
				defer unix.Unmount(dir, unix.MNT_DETACH)
				if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
					t.Fatal(err)
				}
				b.mount("bind", dir, "/data", "rbind", tc.option)
				out := b.run("mounts", "/data")
				if got := out[strings.LastIndex(out, " ")+1:]; !strings.HasPrefix(got, tc.inside) || tc.inside == "" && got != "" {
					t.Errorf("/data has propagation %q in %q, want %q", got, out, tc.inside)
				}
			})
		})
	}
}

func TestTmpfs(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.mount("tmpfs", "tmpfs", "/run/x", "noexec", "nosuid", "nodev", "size=64k", "mode=1770", "uid=7", "gid=8")
		b.mount("tmpfs", "tmpfs", "/read", "ro")
		b.mount("bind", b.hostDir(), "/read/only/data")
		b.expect(strings.Join([]string{
			"/run/x 41770 7:8", "/read 41777 0:0",
			"write /run/x/a: allowed", "write /read/x: read-only file system", "from the host",
		}, "\n"), "stat", "/run/x", "/read", ",", "write", "/run/x/a", "1", ",", "write", "/read/x", "1", ",", "cat", "/read/only/data/file")
		if out := b.run("mounts", "/run/x"); !strings.HasPrefix(out, "/run/x tmpfs tmpfs rw,nosuid,nodev,noexec,relatime") {
			t.Errorf("got %s", out)
		}
		b.mount("tmpfs", "tmpfs", "/y", "tmpcopyup")
		b.fails("cannot mount /y: mount option tmpcopyup is not supported", "ids")
	})
}

func TestUnknownMountOption(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.mount("tmpfs", "tmpfs", "/y", "flavour=sweet")
		b.fails("cannot mount /y: cannot configure tmpfs (flavour=sweet): fsconfig: invalid argument (tmpfs: Unknown parameter 'flavour')", "ids")
	})
}

// TestTargetsStayInside has an image whose links lead out of it.
func TestTargetsStayInside(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		out := t.TempDir()
		b.link("a", "/etc")
		b.link("up", "../../../../.."+out)
		b.link("abs", out)
		b.link("proc/escape", "/proc/1/root")
		b.link("loop", "/loop")
		b.link("dangling", "../run/systemd/resolve/stub.conf")
		for _, destination := range []string{"/a/x", "/up/x", "/abs/x", "/../../.." + out + "/y"} {
			b.mount("tmpfs", "tmpfs", destination)
		}
		b.mount("bind", filepath.Join(b.hostDir(), "file"), "/dangling")
		b.expect("write /etc/x/1: allowed\nfrom the host", "write", "/etc/x/1", "1", ",", "cat", "/run/systemd/resolve/stub.conf")
		mounts := b.run("mounts")
		for _, want := range []string{"/etc/x tmpfs", out + "/x tmpfs", out + "/y tmpfs", "/run/systemd/resolve/stub.conf"} {
			if !strings.Contains(mounts, "\n"+want) {
				t.Errorf("nothing is mounted on %s:\n%s", want, mounts)
			}
		}
		if es, _ := os.ReadDir(out); len(es) > 0 {
			t.Errorf("%s was made on the host", es[0])
		}
		b.mount("tmpfs", "tmpfs", "/loop/x")
		b.fails("cannot mount /loop/x: openat2 /loop/x: too many levels of symbolic links", "ids")
	})
}

// TestNestedMounts puts mounts into mounts, also where a link of the image makes the
// one the parent of the other.
func TestNestedMounts(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.link("var", "/store")
		b.mount("tmpfs", "tmpfs", "/outer")
		b.mount("bind", b.hostDir(), "/outer/bound", "bind")
		b.mount("tmpfs", "tmpfs", "/outer/bound/below")
		b.mount("tmpfs", "tmpfs", "/store/inner")
		b.mount("bind", filepath.Join(b.hostDir(), "file"), "/var/inner/deep/file", "bind")
		b.mount("tmpfs", "tmpfs", "/outer", "mode=700") // covers all the others
		b.mount("bind", filepath.Join(b.hostDir(), "file"), "/outer/again", "bind")
		b.expect("from the host\nfrom the host\n/outer: again", "cat", "/store/inner/deep/file", "/outer/again", ",", "ls", "/outer")
	})
}

func TestMountsInsideOfProcAndSys(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		file := filepath.Join(b.hostDir(), "file")
		b.mount("bind", file, "/proc/uptime", "bind")
		b.mount("tmpfs", "tmpfs", "/sys/kernel", "size=64k")
		b.expect("from the host\n/sys/kernel: ", "cat", "/proc/uptime", ",", "ls", "/sys/kernel")
		b.mount("bind", file, "/proc/self/attr/exec", "bind")
		b.fails("cannot mount /proc/self/attr/exec: cannot mount on /proc/self/attr/exec: it is inside of /proc", "ids")
	})
}

// hostProc has the host's procfs at the container's /proc.
func (b *box) hostProc(options ...string) {
	b.t.Helper()
	for i, m := range b.spec.Mounts {
		if m.Destination == "/proc" {
			b.spec.Mounts[i] = specs.Mount{Type: "bind", Source: "/proc", Destination: "/proc", Options: append(options, "rbind")}
			return
		}
	}
	b.t.Fatal("the container has no /proc")
}

func TestHostProc(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		self := fmt.Sprintf("/proc/%d/comm", os.Getpid())
		comm, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		refused := "read-only file system"
		if b.userNS { // where the host's root has no number
			refused = "permission denied"
		}
		b.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80"}
		for _, option := range []string{"rw", "ro"} {
			b.hostProc(option)
			b.expect(strings.TrimSpace(string(comm))+"\n80\n/proc/interrupts 20666 "+b.hostRoot()+" 1,3\nwrite /proc/sys/net/ipv4/ip_forward: "+refused,
				"cat", self, "/proc/sys/net/ipv4/ip_unprivileged_port_start", ",", "stat", "/proc/interrupts", ",", "write", "/proc/sys/net/ipv4/ip_forward", "x")
		}
		b.mount("bind", b.hostDir(), "/proc/1", "bind")
		b.fails("cannot mount /proc/1: cannot mount on /proc/1: it is inside of /proc", "ids")
	})
}

func TestOnlyAProcfsIsMountedOnProc(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		for _, source := range []string{"/proc/1", b.hostDir()} {
			b.hostProc()
			b.spec.Mounts[slices.IndexFunc(b.spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/proc" })].Source = source
			b.fails("cannot mount /proc: it is not a procfs", "ids")
			b.spec.Mounts = defaultSpec().Mounts
		}
	})
}

func TestMountOnRootIsRefused(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.mount("tmpfs", "tmpfs", "/etc/..")
		b.fails("cannot mount /etc/..: the destination is the root directory", "ids")
	})
}

func TestDirectoryOntoFile(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.file("etc/conf", "", 0o644)
		b.mount("bind", b.hostDir(), "/etc/conf")
		b.fails("cannot mount /etc/conf: not a directory: are you trying to mount a directory onto a file (or vice-versa)?", "ids")
	})
}

func TestMasksInTheImage(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.file("etc/secret", "secret", 0o644)
		b.link("etc/way", "secret")
		b.spec.Linux.MaskedPaths = []string{"/etc/way", "/bin/init/x", "/none"}
		b.expect("/etc/secret 20666 "+b.hostRoot()+" 1,3", "cat", "/etc/secret", ",", "stat", "/etc/secret")
	})
}

func TestSharedRoot(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		if out := b.run("mounts", "/"); strings.Contains(out, "shared:") || strings.Contains(out, "master:") {
			t.Errorf("the root is %s", out)
		}
		b.spec.Linux.RootfsPropagation = "rshared"
		if out := b.run("mounts", "/", "/dev"); strings.Count(out, "shared:") != 2 {
			t.Errorf("the root is %s", out)
		}
	})
}

func TestDevices(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		mode, id := os.FileMode(0o640), uint32(3)
		b.spec.Linux.Devices = []specs.LinuxDevice{
			{Path: "/dev/loop-x", Type: "b", Major: 7, Minor: 3, FileMode: &mode, UID: &id, GID: &id},
			{Path: "/dev/sub/kmsg", Type: "c", Major: 1, Minor: 11},
			{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, FileMode: &mode},
			{Path: "/srv/pipe", Type: "p"},
		}
		b.expect("/dev/loop-x 60640 3:3 7,3\n/dev/sub/kmsg 20666 0:0 1,11\n/dev/null 20640 0:0 1,3\n/srv/pipe 10666 0:0\nopen /dev/null: allowed",
			"stat", "/dev/loop-x", "/dev/sub/kmsg", "/dev/null", "/srv/pipe", ",", "open", "/dev/null")
		b.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "q"}}
		b.fails(`cannot create device /dev/x: unknown device type "q"`, "ids")
		b.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/proc/x", Type: "c"}}
		b.fails("cannot create device /proc/x: /proc is not a place for devices", "ids")
	})
}
