package engine

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hoy/test/rootful"
)

// TestCommit makes images of containers, running and stopped.
func TestCommit(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "-e", "A=1", "--label", "l=v", "-v", "/vol", "busybox", "sh", "-c",
		"rm /etc/group; mkdir /new; echo x >/new/f; ln /new/f /new/g; chown 1000 /new/f; rm -r /home; mkdir /home; echo y >/vol/y; chmod 711 /; exec sleep 1000")
	e.Eventually("the files", func() bool {
		return strings.Contains(e.Try("diff", "con").Stdout, "A /new/g") && e.Try("exec", "con", "test", "-e", "/vol/y").Code == 0
	})
	id := e.Hoy("commit", "-a", "Jo", "-m", "note", "-c", "ENV B=2", "-c", `CMD ["cat","/new/f"]`, "con", "made:1")
	if got := e.Hoy("run", "--rm", "made:1"); got != "x" {
		t.Errorf("its command prints %q", got)
	}
	if got := e.Hoy("run", "--rm", "made:1", "sh", "-c", "ls -A /home /vol; stat -c '%a %u %h %n' / /new/f; ls /etc/group 2>&1; echo $A$B"); got != "/home:\n\n/vol:\n711 0 1 /\n1000" && !strings.Contains(got, "No such file") {
		t.Errorf("in the image: %q", got)
	}
	if got := e.Hoy("inspect", "-f", "{{.Author}}|{{.Comment}}|{{json .Config.Env}}|{{.Config.Labels}}|{{.Id}}|{{len .RootFS.Layers}}", "made:1"); got != `Jo|note|["A=1","B=2"]|map[l:v]|`+id+`|2` {
		t.Errorf("inspect: %s", got)
	}
	if got := e.Hoy("inspect", "-f", "{{.State.Status}}", "con"); got != "running" {
		t.Errorf("after the commit the container is %s", got)
	}
	base := e.Hoy("inspect", "-f", "{{.Id}}", "busybox")
	if got := e.Hoy("history", "-q", "--no-trunc", "made:1"); got != id+"\n"+base {
		t.Errorf("history: %s", got)
	}
	if got := e.Hoy("history", "--format", "{{.Comment}} {{.CreatedBy}}", "made:1"); !strings.HasPrefix(got, "note -c rm /etc/group") && !strings.HasPrefix(got, "note sh -c rm") {
		t.Errorf("history: %s", got)
	}
	e.Hoy("stop", "-t", "0", "con")
	e.Hoy("commit", "con", "made:2")
	if got := e.Hoy("run", "--rm", "made:2", "cat", "/new/g"); got != "x" {
		t.Errorf("of a stopped container: %q", got)
	}
	e.Hoy("create", "--name", "plain", "busybox", "true")
	if n := e.Hoy("inspect", "-f", "{{len .RootFS.Layers}}", e.Hoy("commit", "plain")); n != "1" {
		t.Errorf("a commit of nothing has %s layers", n)
	}
	for args, says := range map[string]string{"commit -c FROM=x con": "not a valid change command", "commit con UPPER": "must be lowercase", "commit none": "No such container"} {
		if r := e.Try(strings.Fields(args)...); r.Code == 0 || !strings.Contains(r.Stderr, says) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	e.Hoy("rm", "-f", "con", "plain")
	e.Hoy("rmi", "busybox") // its child does not need it
	if got := e.Hoy("run", "--rm", "made:1"); got != "x" {
		t.Errorf("without its parent: %q", got)
	}
}

// TestSaveAndLoad saves images, has another tool read the archive, and loads it again,
// in every compression: the ids stay.
func TestSaveAndLoad(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "--name", "con", "busybox", "touch", "/new")
	e.Hoy("commit", "con", "app:1")
	e.Hoy("tag", "app:1", "app:2")
	e.Hoy("rm", "con")
	dir := t.TempDir()
	ids := func() string { return e.Hoy("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}") }
	want := ids()
	file := dir + "/all.tar"
	e.Hoy("save", "-o", file, "app", "busybox:latest")
	if fi, err := os.Stat(file); err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	// skopeo reads docker's form and the OCI layout.
	for _, source := range []string{"docker-archive:" + file + ":docker.io/library/app:2", "oci-archive:" + file + ":docker.io/library/busybox:latest"} {
		out, err := exec.Command("skopeo", "inspect", "--tmpdir", dir, source).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "no descriptor found for reference") || err == nil && !strings.Contains(string(out), `"Layers"`) {
			t.Errorf("skopeo inspect %s: %v: %s", source, err, out)
		}
	}
	if out, err := exec.Command("skopeo", "copy", "--insecure-policy", "docker-archive:"+file+":docker.io/library/app:1", "dir:"+dir+"/copy").CombinedOutput(); err != nil {
		t.Errorf("skopeo copy: %v: %s", err, out)
	}
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, pack := range []string{"cat", "gzip -1", "bzip2 -1", "xz -0", "zstd -1"} {
		e.Hoy("rmi", "app:1", "app:2", "busybox")
		c := exec.Command("sh", "-c", pack)
		c.Stdin = bytes.NewReader(all)
		packed, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", pack, err)
		}
		r := e.TryIn(bytes.NewReader(packed), "load")
		lines := strings.Fields(strings.ReplaceAll(r.Stdout, "Loaded image: ", ""))
		slices.Sort(lines)
		if got := strings.Join(lines, " "); r.Code != 0 || got != "app:1 app:2 busybox:latest" {
			t.Errorf("%s: %+v", pack, r)
		}
		if got := ids(); got != want {
			t.Errorf("%s: loaded\n%s\nwant\n%s", pack, got, want)
		}
	}
	id := e.Hoy("inspect", "-f", "{{.Id}}", "app:1")
	byID := e.Try("save", id)
	e.Hoy("rmi", "app:1", "app:2")
	if r := e.TryIn(strings.NewReader(byID.Stdout), "load"); r.Stdout != "Loaded image ID: "+id+"\n" {
		t.Errorf("saved by its id: %+v", r)
	}
	if got := e.Hoy("run", "--rm", id, "ls", "/new"); got != "/new" {
		t.Errorf("the loaded image has %q", got)
	}
	if r := e.Try("save", "none"); r.Code != 1 || !strings.Contains(r.Stderr, "No such image: none") || r.Stdout != "" {
		t.Errorf("save of a missing image: %+v", r)
	}
	if r := e.Try("save", "--platform", "linux/s390x", "busybox"); r.Code != 1 || !strings.Contains(r.Stderr, "s390x") {
		t.Errorf("save of a missing platform: %+v", r)
	}
	// A reader that goes away leaves nothing.
	before := len(e.imageFiles())
	c := e.Command("save", "busybox")
	out, _ := c.StdoutPipe()
	c.Start()
	io.ReadFull(out, make([]byte, 1000))
	c.Process.Kill()
	c.Wait()
	e.Eventually("nothing of a save cut short", func() bool { return len(e.imageFiles()) == before })
}

// TestImageListAndPrune filters the list of images and removes what nobody uses.
func TestImageListAndPrune(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	root := string(tarball(t, reg("f", "x")))
	for i, args := range [][]string{
		{"-c", "LABEL a=1 b=2", "-", "one:1"}, {"-c", "LABEL a=2", "-", "host.example/x/two:2"}, {"-", "three"}, {"-m", "dangling", "-"},
	} {
		if r := e.TryIn(strings.NewReader(root), append([]string{"import"}, args...)...); r.Code != 0 {
			t.Fatalf("import %d: %+v", i, r)
		}
	}
	e.Hoy("create", "--name", "con", "busybox", "true")
	for filter, want := range map[string]string{
		"dangling=true": "<none>", "dangling=false": "busybox host.example/x/two one three", "label=a": "host.example/x/two one", "label=a=1": "one",
		"label!=a": "<none> busybox three", "reference=one": "one", "reference=*/x/two": "host.example/x/two", "reference=docker.io/library/one:*": "one", "reference=t*": "three",
		"before=one:1": "busybox", "since=host.example/x/two:2": "<none> three", "until=1h": "",
	} {
		names := strings.Fields(e.Hoy("images", "--format", "{{.Repository}}", "--filter", filter))
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	if r := e.Try("images", "--filter", "nonsense=1"); r.Code == 0 || !strings.Contains(r.Stderr, "invalid filter 'nonsense'") {
		t.Errorf("a filter that is none: %+v", r)
	}
	if tree := e.Hoy("images", "--tree"); !strings.Contains(tree, "busybox:latest") || !strings.Contains(tree, "linux/") {
		t.Errorf("tree:\n%s", tree)
	}
	before := len(e.imageFiles())
	if out := e.Hoy("image", "prune", "-f"); !strings.Contains(out, "deleted: sha256:") || strings.Contains(out, "reclaimed space: 0B") {
		t.Errorf("prune: %s", out)
	}
	if out := e.Hoy("image", "prune", "-af", "--filter", "label=b"); !strings.Contains(out, "untagged: one:1") || strings.Contains(out, "three") {
		t.Errorf("prune by label: %s", out)
	}
	if r := e.TryIn(strings.NewReader("n\n"), "image", "prune", "-a"); r.Code != 0 || r.Stderr != "" {
		t.Errorf("answered no: %+v", r)
	}
	e.Hoy("image", "prune", "-af")
	if got := e.Hoy("images", "-a", "--format", "{{.Repository}}"); got != "busybox" {
		t.Errorf("left: %q", got)
	}
	e.Eventually("the files are gone", func() bool { return len(e.imageFiles()) < before-4 })
	for _, action := range []string{"untag", "delete", "import", "tag"} {
		if out := e.Hoy("events", "--since", "1h", "--until", "0s", "--filter", "type=image", "--filter", "event="+action); out == "" {
			t.Errorf("no event %s", action)
		}
	}
}

// TestCopyAgainstSwaps copies while a process in the container swaps directories for
// links that lead out, as fast as it can (CVE-2018-15664).
func TestCopyAgainstSwaps(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	victim := filepath.Join(e.Dir, "victim")
	os.Mkdir(victim, 0o755)
	secret := writeFile(t, victim+"/secret", []byte("the host's"))
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c",
		`mkdir -p /w/dir /w/other/x; echo inside >/w/dir/secret; ln -s `+victim+` /w/link; while :; do mv /w/dir /w/d; mv /w/link /w/dir; mv /w/dir /w/link; mv /w/d /w/dir; done`)
	e.Eventually("the swaps begin", func() bool { return e.Try("exec", "con", "test", "-e", "/w").Code == 0 })
	worked := 0
	for range 150 {
		r := e.TryIn(bytes.NewReader(tarball(t, reg("planted", "x"), reg("sub/planted", "x"), reg("secret", "changed"))), "cp", "-", "con:/w/dir")
		if r.Code == 0 {
			worked++
		}
		out := e.Try("cp", "con:/w/dir/secret", "-").Stdout + e.Try("cp", "con:/w/dir/", "-").Stdout
		if strings.Contains(out, "the host's") {
			t.Fatal("a file of the host was copied")
		}
	}
	if es, _ := os.ReadDir(victim); len(es) != 1 {
		t.Errorf("written on the host: %v", es)
	}
	if b, _ := os.ReadFile(secret); string(b) != "the host's" {
		t.Errorf("changed on the host: %q", b)
	}
	if worked == 0 {
		t.Error("no copy ever worked: the test shows nothing")
	}
}

// TestStalledCopy shows that a client which does not read holds up nobody: not a list,
// not a start, not a removal.
func TestStalledCopy(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "--name", "con", "busybox", "sh", "-c", "head -c 20000000 /dev/zero >/big")
	stall := func() *exec.Cmd {
		c := e.Command("export", "con")
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		io.ReadFull(out, make([]byte, 100))
		return c
	}
	first := stall()
	defer first.Process.Kill()
	for _, args := range []string{"ps -as", "inspect -s con", "diff con", "cp con:/etc/passwd -"} {
		began := time.Now()
		e.Hoy(strings.Fields(args)...)
		if d := time.Since(began); d > 8*time.Second {
			t.Errorf("%s took %s beside a copy that stalls", args, d)
		}
	}
	e.Hoy("start", "-a", "con") // breaks the copy off after a moment
	first.Process.Signal(syscall.SIGKILL)
	first.Wait()
	second := stall()
	defer second.Process.Kill()
	e.Hoy("rm", "con")
	second.Process.Signal(syscall.SIGKILL)
	second.Wait()
	e.nothingLeft()
}

// TestFilesOfUserNamespaces copies, exports and commits with ids mapped.
func TestFilesOfUserNamespaces(t *testing.T) {
	e := remapped(t)
	e.Hoy("run", "-d", "--name", "con", "-v", "vol:/vol", "busybox", "sh", "-c", "mkdir /d; touch /d/f /vol/v; chown 1000:1000 /d/f /vol/v; touch /d/ready; exec sleep 1000")
	e.Eventually("the files", func() bool { return e.Try("exec", "con", "test", "-e", "/d/ready").Code == 0 })
	owned := tarball(t, entry('0', "rooted", "", "x"))
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			e.Hoy("stop", "-t", "0", "con")
		}
		if got := members(t, e.Try("cp", "con:/d/f", "-").Stdout); got != "f(1000:1000)" {
			t.Errorf("%s: %q", state, got)
		}
		if got := members(t, e.Try("cp", "con:/vol/v", "-").Stdout); got != "v(1000:1000)" {
			t.Errorf("%s: %q", state, got)
		}
		for _, to := range []string{"con:/d", "con:/vol"} {
			if r := e.TryIn(bytes.NewReader(owned), "cp", "-", to); r.Code != 0 {
				t.Errorf("%s, to %s: %+v", state, to, r)
			}
		}
		if list := " " + members(t, e.Try("export", "con").Stdout) + " "; !strings.Contains(list, " d/f(1000:1000) ") || !strings.Contains(list, " bin/busybox ") {
			t.Errorf("%s: export: %.300s", state, list)
		}
		e.Hoy("commit", "con", "made")
		if got := e.Hoy("run", "--rm", "-v", "vol:/vol", "made", "stat", "-c", "%u:%g", "/d/f", "/d/rooted", "/vol/rooted"); got != "1000:1000\n0:0\n0:0" {
			t.Errorf("%s: committed: %q", state, got)
		}
	}
}
