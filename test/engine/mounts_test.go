package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// withBusybox starts an engine that has the image busybox.
func withBusybox(t *testing.T, flags ...string) *Engine {
	t.Helper()
	rootful.Check(t)
	e := Start(t, flags...)
	e.ImportBusybox()
	return e
}

// refused runs commands that must fail with code 125 and these words.
func (e *Engine) refused(table map[string]string) {
	e.t.Helper()
	for flags, want := range table {
		r := e.Try(append(append([]string{"run", "--rm"}, strings.Fields(flags)...), "busybox", "true")...)
		if r.Code != 125 || !strings.Contains(r.Stderr, want) {
			e.t.Errorf("%s: exit code %d, %q\n\twant %q", flags, r.Code, r.Stderr, want)
		}
	}
}

// TestVolumesFrom takes the volumes of containers that run, ended or never ran, with
// docker's precedence: own mounts, the later container, the earlier, the image.
func TestVolumesFrom(t *testing.T) {
	e := withBusybox(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), []byte("bound"))
	e.Hoy("create", "--name", "one", "-v", "named:/named", "-v", "/anonymous", "-v", dir+":/bound:ro", "--tmpfs", "/tmpfs", "busybox", "true")
	e.Hoy("run", "--name", "two", "-v", "other:/named", "busybox", "sh", "-c", "echo two >/named/f")
	e.Hoy("run", "-d", "--name", "three", "--volumes-from", "one", "busybox", "sh", "-c", "echo three >/anonymous/f; exec sleep 1000")
	e.Eventually("three's file", func() bool { return e.Hoy("exec", "three", "cat", "/anonymous/f") == "three" })
	e.holds([][3]string{
		{"run --rm --volumes-from one busybox", "cat /bound/f /anonymous/f; ls -d /tmpfs", "boundthree\nls: /tmpfs: No such file or directory"},
		{"run --rm --volumes-from three:ro busybox", "cat /anonymous/f; touch /anonymous/g /named/g", "three\ntouch: /anonymous/g: Read-only file system\ntouch: /named/g: Read-only file system"},
		{"run --rm --volumes-from one:rw busybox", "touch /bound/g", "touch: /bound/g: Read-only file system"},
		{"run --rm --volumes-from one --volumes-from two busybox", "cat /named/f /bound/f", "two\nbound"},
		{"run --rm --volumes-from two --volumes-from one busybox", "ls /named", ""},
		{"run --rm --volumes-from two -v third:/named busybox", "ls /named", ""},
		{"run --rm --volumes-from two -v /named busybox", "cat /named/f", "two"},
		{"run --rm --volumes-from two:z busybox", "cat /named/f", "two"},
	})
	e.refused(map[string]string{
		"--volumes-from nobody":     "No such container: nobody",
		"--volumes-from one:rslave": "invalid mode: rslave",
		"--volumes-from one:nocopy": "invalid mode: nocopy",
	})
	if r := e.Try("volume", "rm", "named"); r.Code == 0 || !strings.Contains(r.Stderr, "volume is in use") {
		t.Errorf("a volume in use: %+v", r)
	}
	// An anonymous volume goes with the last container that has it.
	e.Hoy("rm", "-v", "one")
	if got := e.Hoy("exec", "three", "cat", "/anonymous/f"); got != "three" {
		t.Errorf("the volume is gone under a container: %q", got)
	}
	e.Hoy("rm", "-fv", "three", "two")
	if got := strings.Fields(e.Hoy("volume", "ls", "-q")); strings.Join(got, " ") != "named other third" {
		t.Errorf("volumes left: %v", got)
	}
	e.Hoy("volume", "rm", "named", "other", "third")
	e.nothingLeft()
}

// TestPropagation has mounts appear in a bind whose source lets them, and refuses what a
// source cannot have.
func TestPropagation(t *testing.T) {
	e := withBusybox(t)
	dir := t.TempDir()
	mount := func(source, target, kind string, flags uintptr) {
		if err := unix.Mount(source, target, kind, flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	mount("tmpfs", dir, "tmpfs", 0)
	defer unix.Unmount(dir, unix.MNT_DETACH)
	mount("", dir, "", unix.MS_PRIVATE)
	e.refused(map[string]string{
		"-v " + dir + ":/d:rslave": "path " + dir + " is mounted on " + dir + " but it is not a shared or slave mount",
		"-v " + dir + ":/d:shared": "path " + dir + " is mounted on " + dir + " but it is not a shared mount",
	})
	// A mount of its own, so that it is private whatever the host's are.
	near := filepath.Join(e.Dir, "data", "near")
	if err := os.Mkdir(near, 0o700); err != nil {
		t.Fatal(err)
	}
	mount("tmpfs", near, "tmpfs", 0)
	defer func() { unix.Unmount(near, unix.MNT_DETACH); os.Remove(near) }()
	mount("", near, "", unix.MS_PRIVATE)
	e.refused(map[string]string{"-v " + near + ":/d:rslave": "path " + near + " is mounted on " + near + " but it is not a shared or slave mount"})
	if got := e.Hoy("run", "--rm", "-v", near+":/d", "busybox", "ls", "/d"); got != "" {
		t.Errorf("the engine's own choice: %s", got)
	}
	mount("", dir, "", unix.MS_SHARED)
	e.Hoy("run", "-d", "--name", "con", "-v", dir+":/d:rslave", "busybox", "sleep", "1000")
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	mount("tmpfs", sub, "tmpfs", 0)
	writeFile(t, filepath.Join(sub, "f"), nil)
	if got := e.Hoy("exec", "con", "ls", "/d/sub"); got != "f" {
		t.Errorf("a mount below the source shows %q", got)
	}
	e.Hoy("rm", "-f", "con")
	if err := unix.Unmount(sub, 0); err != nil {
		t.Error(err)
	}
}

// TestVolumeSubpath mounts parts of a volume, and nothing outside of it.
func TestVolumeSubpath(t *testing.T) {
	e := withBusybox(t)
	e.Hoy("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c",
		"mkdir -p /v/sub/deep /v/home /v/hack; echo hello >/v/sub/deep/f; echo file >/v/file; ln -s / /v/hack/root; ln -s ../sub /v/hack/good; ln -s root /v/hack/bad")
	mount := func(sub, target string) string {
		return "run --rm --mount type=volume,source=vol,target=" + target + ",volume-subpath=" + sub + " busybox"
	}
	e.holds([][3]string{
		{mount("sub", "/m"), "cat /m/deep/f; touch /m/new && echo made", "hello\nmade"},
		{mount("sub/deep/f", "/etc/passwd"), "cat /etc/passwd", "hello"},
		{mount("hack/good", "/m"), "ls /m", "deep\nnew"},
		{mount("home", "/home"), "stat -c %u /home/app", "1000"}, // filled from the image
	})
	for sub, want := range map[string]string{
		"../x": "subpath must be a relative path within the volume", "missing": "cannot access path missing",
		"hack/root": "path concatenation escapes the base directory", "hack/bad/etc": "path concatenation escapes the base directory",
	} {
		r := e.Try(append(strings.Fields(mount(sub, "/m")), "true")...)
		if r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %+v, want %q", sub, r, want)
		}
	}
	e.refused(map[string]string{"--mount type=volume,target=/m,volume-subpath=a": "must not set Subpath when using anonymous volumes"})
	e.Hoy("volume", "rm", "vol")
	e.nothingLeft()
}

// TestLocalVolumes has volumes whose options name a file system.
func TestLocalVolumes(t *testing.T) {
	e := withBusybox(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), []byte("theirs"))
	e.Hoy("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=1000", "mem")
	e.holds([][3]string{
		{"run --rm -v mem:/m busybox", "stat -c %u /m; df -k /m | tail -1 | awk '{print $2}'; touch /m/x", "1000\n1024"},
		{"run --rm -v mem:/m busybox", "ls /m", ""}, // what was in it went with the last container
		{"run --rm --mount type=volume,source=bound,target=/m,volume-driver=local,volume-opt=type=none,volume-opt=device=" + dir + ",volume-opt=o=bind,volume-label=a=b busybox", "cat /m/f; echo more >/m/g", "theirs"},
		{"run --rm --volume-driver local -v bound:/m busybox", "cat /m/g", "more"},
	})
	if got := e.Hoy("volume", "inspect", "-f", "{{.Options.device}} {{.Labels.a}}", "bound"); got != dir+" b" {
		t.Errorf("inspect: %q", got)
	}
	e.refused(map[string]string{
		"--volume-driver nope -v vol:/m":                                  `error looking up volume plugin nope: plugin "nope" not found`,
		"--mount type=volume,source=vol,target=/m,volume-opt=colour=blue": `invalid option: "colour"`,
		"--mount type=volume,source=vol,target=/m,volume-opt=type=tmpfs":  `missing required option: "device"`,
		"--mount type=cluster,source=vol,target=/m":                       "This node is not a swarm manager",
	})
	// It stays mounted while a container runs, whatever happens to the engine.
	e.Hoy("run", "-d", "--name", "con", "-v", "mem:/m", "busybox", "sh", "-c", "echo kept >/m/f; exec sleep 1000")
	e.Eventually("the file", func() bool { return e.Hoy("exec", "con", "cat", "/m/f") == "kept" })
	crashes["engine"](e)
	e.holds([][3]string{{"run --rm -v mem:/m busybox", "cat /m/f", "kept"}})
	at := e.Hoy("volume", "inspect", "-f", "{{.Mountpoint}}", "mem")
	if b, err := os.ReadFile(at + "/f"); err != nil || string(b) != "kept\n" {
		t.Errorf("on the machine: %q, %v", b, err)
	}
	e.Hoy("rm", "-f", "con")
	e.Eventually("the unmount", func() bool { _, err := os.Stat(at + "/f"); return err != nil })
	e.Hoy("volume", "rm", "bound", "mem")
	if _, err := os.Stat(filepath.Join(dir, "f")); err != nil {
		t.Errorf("removing the volume removed what it showed: %v", err)
	}
	e.nothingLeft()
}

// TestImageMounts mounts images read-only, whole and in part.
func TestImageMounts(t *testing.T) {
	e := withBusybox(t)
	archive := tarball(t, reg("foo", "bar"), reg("subdir/hello", "world"), entry('2', "hack/good", "../subdir", ""), entry('2', "hack/bad", "../../../..", ""))
	if r := e.TryIn(bytes.NewReader(archive), "import", "-", "data"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	id := e.Hoy("images", "-q", "--no-trunc", "data")
	mount := func(target, more string) string {
		return "run --rm --mount type=image,source=data,target=" + target + more + " busybox"
	}
	e.holds([][3]string{
		{mount("/m", ""), "cat /m/foo; touch /m/x", "bartouch: /m/x: Read-only file system"},
		{mount("/m", ",image-subpath=subdir"), "cat /m/hello", "world"},
		{mount("/m", ",image-subpath=hack/good"), "cat /m/hello", "world"},
		{mount("/etc/passwd", ",image-subpath=subdir/hello"), "cat /etc/passwd", "world"},
	})
	for sub, want := range map[string]string{
		"hack/bad": "path concatenation escapes the base directory", "none": "cannot access path none", "../a": "subpath must be a relative path within the volume",
	} {
		r := e.Try(append(strings.Fields(mount("/m", ",image-subpath="+sub)), "true")...)
		if r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %+v, want %q", sub, r, want)
		}
	}
	e.refused(map[string]string{
		"--mount type=image,target=/m":                          "field Source must not be empty",
		"--mount type=image,source=nosuchimage,target=/m":       "No such image: nosuchimage",
		"--mount type=image,source=data,target=/m,tmpfs-size=1": "cannot mix",
	})
	// The container needs the image: it cannot be removed, and with force its layers stay.
	e.Hoy("run", "-d", "--name", "con", "--mount", "type=image,source=data,target=/m", "busybox", "sleep", "1000")
	e.Hoy("create", "--name", "heir", "--volumes-from", "con", "busybox", "cat", "/m/foo")
	if r := e.Try("rmi", "data"); r.Code == 0 || !strings.Contains(r.Stderr, "is using its referenced image "+strings.TrimPrefix(id, "sha256:")[:12]) {
		t.Errorf("rmi of an image in use: %+v", r)
	}
	e.Hoy("stop", "-t", "0", "con")
	e.Hoy("rmi", "-f", "data")
	e.Hoy("start", "con")
	e.holds([][3]string{{"exec con", "cat /m/foo", "bar"}})
	if got := e.Hoy("start", "-a", "heir"); got != "bar" {
		t.Errorf("through --volumes-from: %q", got)
	}
	e.Hoy("rm", "-f", "con", "heir")
	e.nothingLeft()
}

// TestVolumeEvents: as with docker, who watches sees volumes made and removed with their
// containers, and when one is in use; not those that were there already.
func TestVolumeEvents(t *testing.T) {
	e := withBusybox(t)
	e.Hoy("volume", "create", "old")
	e.Hoy("volume", "create", "old")
	e.Hoy("run", "--rm", "-v", "old:/old:ro", "-v", "new:/new", "-v", "/own", "busybox", "true")
	e.Hoy("create", "--name", "con", "-v", "/own", "busybox", "true")
	e.Hoy("rm", "-v", "con")
	e.Hoy("volume", "rm", "old", "new")
	got := strings.Split(e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "type=volume", "--format", "{{.Actor.ID}} {{.Action}}{{range $k, $v := .Actor.Attributes}}{{if ne $k \"container\"}} {{$k}}={{$v}}{{end}}{{end}}"), "\n")
	for i, line := range got {
		if name, rest, _ := strings.Cut(line, " "); len(name) == 64 {
			got[i] = "anonymous " + rest
		}
	}
	slices.Sort(got)
	want := []string{
		"anonymous create driver=local", "anonymous create driver=local",
		"anonymous destroy driver=local", "anonymous destroy driver=local",
		"anonymous mount destination=/own driver=local propagation= read/write=true",
		"anonymous unmount driver=local",
		"new create driver=local", "new destroy driver=local",
		"new mount destination=/new driver=local propagation= read/write=true", "new unmount driver=local",
		"old create driver=local", "old destroy driver=local",
		"old mount destination=/old driver=local propagation= read/write=false", "old unmount driver=local",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told of\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
