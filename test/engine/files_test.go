package engine

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// members lists an archive: kind, owner and name of each, and where links lead.
func members(t testing.TB, archive string) string {
	t.Helper()
	var b strings.Builder
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return strings.TrimSpace(b.String())
		}
		if err != nil {
			t.Fatalf("%v after %s", err, b.String())
		}
		b.WriteString(h.Name)
		if h.Linkname != "" {
			b.WriteString("->" + h.Linkname)
		}
		if h.Uid+h.Gid > 0 {
			b.WriteString("(" + strconv.Itoa(h.Uid) + ":" + strconv.Itoa(h.Gid) + ")")
		}
		b.WriteString(" ")
	}
}

// fixture makes a container with files of all kinds, a volume, binds and a tmpfs.
func (e *Engine) fixture(name, bind string, options ...string) {
	e.t.Helper()
	args := append([]string{"run", "-d", "--name", name, "-v", "vol:/vol", "-v", bind + ":/bind", "-v", bind + ":/fixed:ro", "--tmpfs", "/tmpfs"}, options...)
	e.Hoy(append(args, "busybox", "sh", "-c", `mkdir -p /work/dir/sub; cd /work
		echo content >file; echo deep >dir/sub/deep; ln -s file link; ln -s /work/dir dirlink; ln -s /nowhere dangling; ln -s /../../work/file climbing
		ln dir/sub/deep dir/hard; chown 1000:1000 file; echo v >/vol/in-volume; echo t >/tmpfs/in-tmpfs; touch /work/ready; exec sleep 1000`)...)
	e.Eventually("the files", func() bool { return e.Try("exec", name, "test", "-e", "/work/ready").Code == 0 })
}

// TestCopyFrom copies out of a running and a stopped container by docker's rules.
func TestCopyFrom(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	bind := t.TempDir()
	writeFile(t, bind+"/in-bind", []byte("b"))
	e.fixture("cc", bind)
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			e.Hoy("stop", "-t", "0", "cc")
		}
		for _, tc := range [][3]string{ // source, members, or what is said
			{"/work/file", "file(1000:1000)"},
			{"work/file", "file(1000:1000)"},
			{"/work/link", "link->file"},
			{"/work/link/", "not a directory"},
			{"/work/file/", "not a directory"},
			{"/work/dir", "dir/ dir/hard dir/sub/ dir/sub/deep->dir/hard"},
			{"/work/dir/", "dir/ dir/hard dir/sub/ dir/sub/deep->dir/hard"},
			{"/work/dir/.", "./ ./hard ./sub/ ./sub/deep->./hard"},
			{"/work/dirlink", "dirlink->/work/dir"},
			{"/work/dirlink/", "dirlink/ dirlink/hard dirlink/sub/ dirlink/sub/deep->dirlink/hard"},
			{"/work/dirlink/sub", "sub/ sub/deep"},
			{"/work/../work/file", "file(1000:1000)"},
			{"/../../../work/file", "file(1000:1000)"},
			{"/vol", "vol/ vol/in-volume"},
			{"/bind/in-bind", "in-bind"},
			{"/tmpfs", "tmpfs/"},
			{"/work/none", "Could not find the file /work/none in container cc"},
			{"/work/dangling", "dangling->/nowhere"},
			{"/work/dangling/", "Could not find the file /work/dangling/ in container cc"},
		} {
			r := e.Try("cp", "cc:"+tc[0], "-")
			got := r.Stderr
			if r.Code == 0 {
				got = members(t, r.Stdout)
			}
			if got != tc[1] && (r.Code == 0 || !strings.Contains(got, tc[1])) {
				t.Errorf("%s, %s: %q, want %q", state, tc[0], got, tc[1])
			}
		}
		for src, want := range map[string]string{"/work/link": "content", "/work/climbing": "content", "/etc/passwd": "root:x:0"} {
			dst := t.TempDir() + "/copy"
			e.Hoy("cp", "-L", "cc:"+src, dst)
			if b, _ := os.ReadFile(dst); !strings.HasPrefix(string(b), want) {
				t.Errorf("%s, -L %s: %q", state, src, b)
			}
		}
		if hosts := e.Try("cp", "cc:/etc/hostname", "-").Stdout; !strings.Contains(hosts, e.Hoy("inspect", "-f", "{{.Config.Hostname}}", "cc")) {
			t.Errorf("%s: /etc/hostname is not the container's", state)
		}
	}
	e.Hoy("rm", "-f", "-v", "cc")
	e.Hoy("volume", "rm", "vol")
	e.nothingLeft()
}

// TestCopyLocal shows what a copy is called where it comes to, in both directions.
func TestCopyLocal(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "cc", "busybox", "sh", "-c", "mkdir -p /in/dir /to/there; echo f >/in/file; echo d >/in/dir/x; ln -s there /to/link; exec sleep 1000")
	e.Eventually("the files", func() bool { return e.Try("exec", "cc", "test", "-L", "/to/link").Code == 0 })
	local := t.TempDir()
	os.MkdirAll(local+"/src/dir", 0o755)
	os.MkdirAll(local+"/there", 0o755)
	writeFile(t, local+"/src/file", []byte("f"))
	writeFile(t, local+"/src/dir/x", []byte("d"))
	os.Symlink("file", local+"/src/link")
	for _, tc := range []struct{ from, to, is, says string }{
		{"cc:/in/file", "new", "new", ""},
		{"cc:/in/file", "there", "there/file", ""},
		{"cc:/in/file", "none/", "", "no such directory"},
		{"cc:/in/file", "none/deeper", "", "directory"},
		{"cc:/in/dir", "newdir", "newdir/x", ""},
		{"cc:/in/dir", "there", "there/dir/x", ""},
		{"cc:/in/dir/.", "there", "there/x", ""},
		{"cc:/in/dir/.", "new2", "new2/x", ""},
		{"cc:/in/dir", "new", "", "cannot copy directory"},
		{"cc:/", "there", "there/in/dir/x", ""},
		{"src/file", "cc:/to/new", "/to/new", ""},
		{"src/file", "cc:/to/there", "/to/there/file", ""},
		{"src/file", "cc:/to/there/", "/to/there/file", ""},
		{"src/file", "cc:/to/link", "/to/there/file", ""},
		{"src/file", "cc:/to/none/", "", "no such directory"},
		{"src/file", "cc:/none/none", "", "Could not find the file /none in container cc"},
		{"src/dir", "cc:/to/newdir", "/to/newdir/x", ""},
		{"src/dir", "cc:/to/there", "/to/there/dir/x", ""},
		{"src/dir/.", "cc:/to/there", "/to/there/x", ""},
		{"src/dir", "cc:/to/new", "", "cannot copy directory"},
		{"src/link", "cc:/to/link2", "/to/link2", ""},
		{"src/none", "cc:/to", "", "no such file"},
		{"src/file/", "cc:/to", "", "not a directory"},
		{"cc:/in", "cc:/to", "", "copying between containers is not supported"},
		{"src", "there", "", "must specify at least one container source"},
	} {
		c := e.Command("cp", tc.from, tc.to)
		c.Dir = local
		out, err := c.CombinedOutput()
		if (err == nil) != (tc.says == "") || !strings.Contains(string(out), tc.says) {
			t.Errorf("cp %s %s: %v, %q; want %q", tc.from, tc.to, err, out, tc.says)
			continue
		}
		if err != nil {
			continue
		}
		if strings.HasPrefix(tc.is, "/") {
			if e.Try("exec", "cc", "test", "-e", tc.is).Code+e.Try("exec", "cc", "test", "-L", tc.is).Code == 2 {
				t.Errorf("cp %s %s: there is no %s", tc.from, tc.to, tc.is)
			}
		} else if _, err := os.Lstat(filepath.Join(local, tc.is)); err != nil {
			t.Errorf("cp %s %s: %v", tc.from, tc.to, err)
		}
	}
	if got := e.Hoy("exec", "cc", "readlink", "/to/link2"); got != "file" {
		t.Errorf("a link was copied as %q", got)
	}
}

// TestCopyTo unpacks archives in a container: owners, kinds, and what is read-only.
func TestCopyTo(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	bind := t.TempDir()
	e.fixture("cc", bind)
	e.Hoy("run", "-d", "--name", "fixed", "--read-only", "-v", "vol:/vol", "busybox", "sleep", "1000")
	e.Hoy("create", "--name", "app", "--user", "app", "-v", "appvol:/home", "busybox", "sleep", "1000")
	owned := func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "owned", Mode: 0o750, Uid: 7, Gid: 8})
	}
	plain := tarball(t, reg("new/file", "new"), owned, entry(tar.TypeSymlink, "out", "../../../../etc", ""))
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			e.Hoy("stop", "-t", "0", "cc", "fixed")
		}
		for _, tc := range []struct {
			to      string
			archive []byte
			says    string
		}{
			{"cc:/work", plain, ""},
			{"cc:/work/dirlink", gzipped(t, plain), ""},
			{"cc:/vol", plain, ""},
			{"cc:/bind", plain, ""},
			{"cc:/fixed", plain, "mounted volume is marked read-only"},
			{"cc:/work/file", plain, "must be a directory"},
			{"cc:/none", plain, "must be a directory"},
			{"cc:/work", tarball(t, reg("dir", "x")), "cannot overwrite directory"},
			{"cc:/work", tarball(t, entry(tar.TypeDir, "file", "", "")), "cannot overwrite non-directory"},
			{"cc:/work", tarball(t, reg("../../up", "x")), "leads out"},
			{"cc:/work", []byte(strings.Repeat("junk", 1000)), "not a tar archive"},
			{"cc:/work", tarball(t, reg("big", strings.Repeat("x", 10_000)))[:5000], "truncated"},
			{"fixed:/etc", plain, "container rootfs is marked read-only"},
			{"fixed:/vol", plain, ""},
		} {
			r := e.TryIn(bytes.NewReader(tc.archive), "cp", "-", tc.to)
			if (r.Code == 0) != (tc.says == "") || !strings.Contains(r.Stderr, tc.says) {
				t.Errorf("%s, to %s: %+v, want %q", state, tc.to, r, tc.says)
			}
		}
	}
	e.Hoy("start", "cc")
	if got := e.Hoy("exec", "cc", "sh", "-c", "cat /work/new/file /work/dir/new/file /vol/new/file /bind/new/file; stat -c %u:%g:%a /work/owned"); got != "newnewnewnew7:8:750" {
		t.Errorf("in the container: %q", got)
	}
	// A container that never ran has its volumes already, and --archive means its user.
	e.Hoy("cp", "-a", bind+"/new", "app:/home/app")
	e.Hoy("cp", bind+"/new", "app:/home/other")
	e.Hoy("start", "app")
	if got := e.Hoy("exec", "app", "stat", "-c", "%u:%g %n", "/home/app/new/file", "/home/other/file"); got != "1000:1000 /home/app/new/file\n0:0 /home/other/file" {
		t.Errorf("owners: %q", got)
	}
	e.Hoy("rm", "-f", "-v", "cc", "fixed", "app")
	e.Hoy("volume", "rm", "vol", "appvol")
	e.nothingLeft()
}

// TestDiffAndExport lists and packs what a container has changed.
func TestDiffAndExport(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("create", "--name", "same", "busybox", "true")
	if code, body := e.get("/containers/same/changes"); code != 200 || strings.TrimSpace(body) != "null" {
		t.Errorf("no changes are %d, %s; docker says null", code, body)
	}
	if out := e.Hoy("diff", "same"); out != "" {
		t.Errorf("diff of no changes: %s", out)
	}
	e.Hoy("rm", "same")
	bind := t.TempDir()
	e.fixture("cc", bind)
	e.Hoy("exec", "cc", "sh", "-c", "rm /etc/group; chmod 700 /root; echo x >>/etc/passwd")
	lines := "C /etc\nD /etc/group\nC /etc/passwd\nC /root\nA /work\nA /work/climbing\nA /work/dangling\nA /work/dir\nA /work/dir/hard\nA /work/dir/sub\nA /work/dir/sub/deep\nA /work/dirlink\nA /work/file\nA /work/link\nA /work/ready"
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			e.Hoy("stop", "-t", "0", "cc")
		}
		got := e.Hoy("diff", "cc")
		for _, line := range strings.Split(lines, "\n") {
			if !strings.Contains("\n"+got+"\n", "\n"+line+"\n") {
				t.Errorf("%s: diff lacks %s:\n%s", state, line, got)
			}
		}
		if strings.Contains(got, "in-volume") || strings.Contains(got, "in-tmpfs") {
			t.Errorf("%s: diff shows mounts:\n%s", state, got)
		}
		list := " " + members(t, e.Try("export", "cc").Stdout) + " "
		for _, want := range []string{" work/file(1000:1000) ", " bin/busybox ", " work/link->file ", " vol/ ", " home/app/(1000:1000) "} {
			if !strings.Contains(list, want) {
				t.Errorf("%s: export lacks %q", state, want)
			}
		}
		for _, not := range []string{"etc/group ", "vol/in-volume", "in-tmpfs", "in-bind"} {
			if strings.Contains(list, not) {
				t.Errorf("%s: export has %q", state, not)
			}
		}
	}
	file := t.TempDir() + "/root.tar"
	e.Hoy("export", "-o", file, "cc")
	e.Hoy("import", file, "again")
	if got := e.Hoy("run", "--rm", "again", "cat", "/work/dir/hard"); got != "deep" {
		t.Errorf("an export, imported: %q", got)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
