package mount

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/pidfd"
	"hoy/test/rootful"
)

// tmpfsWith is a detached tmpfs with a file that holds its name.
func tmpfsWith(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := Tmpfs(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w, err := CreateIn(f, name, 0o644, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	return f
}

func here(t *testing.T, root *os.File, path string) bool {
	t.Helper()
	f, err := OpenIn(root, path, unix.O_PATH)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// Paths lead through a composed tree as in a container, links included, and the
// pieces keep what was theirs.
func TestCompose(t *testing.T) {
	rootful.Check(t)
	root, data, deep := tmpfsWith(t, "of-root"), tmpfsWith(t, "of-data"), tmpfsWith(t, "of-deep")
	if err := unix.Symlinkat("/mnt/data", int(root.Fd()), "link"); err != nil {
		t.Fatal(err)
	}
	tree, err := Compose(root, []Part{{data, "/mnt/data"}, {deep, "link/sub"}}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for path, want := range map[string]bool{
		"of-root": true, "mnt/data/of-data": true, "link/of-data": true, "link/sub/of-deep": true, "mnt/data/sub/of-deep": true,
		"mnt/data/../../../of-root": true, "of-data": false,
	} {
		if got := here(t, tree, path); got != want {
			t.Errorf("tree: %s is %v, want %v", path, got, want)
		}
	}
	if here(t, root, "mnt/data/of-data") || !here(t, root, "mnt/data") {
		t.Error("the root alone shows what is mounted in the tree")
	}
}

// The root of a process is found by its descriptor, without the mounts in it.
func TestRootOf(t *testing.T) {
	rootful.Check(t)
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "covered"), 0o755)
	os.Mkdir(filepath.Join(dir, "later"), 0o755)
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	busybox, err := exec.LookPath("busybox") // Debian's is static
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", busybox, filepath.Join(dir, "busybox")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" "$0" && mount -t tmpfs none "$0/covered" && touch "$0/covered/hidden" &&
		cd "$0" && pivot_root . . && exec ./busybox sh -c './busybox umount -l . && ./busybox mount --make-rshared / && echo && read x &&
		./busybox mount -t tmpfs none /later && ./busybox touch /later/late && echo && exec ./busybox cat'`, dir)
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); c.Wait() }()
	out.Read(make([]byte, 1))
	p, err := pidfd.Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	root, err := RootOf(p, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if !here(t, root, "file") || !here(t, root, "covered") || here(t, root, "covered/hidden") {
		t.Error("not the root, or with what is mounted in it")
	}
	tree, err := Compose(root, []Part{{tmpfsWith(t, "of-data"), "/covered"}}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if !here(t, tree, "covered/of-data") || !here(t, tree, "file") {
		t.Error("the composed tree lacks a part")
	}
	// The process shares its mounts with whoever has copies: not with these.
	io.WriteString(in, "\n")
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if here(t, root, "later/late") || here(t, tree, "later/late") {
		t.Errorf("what the process mounts later shows: %v in the root, %v in the tree", here(t, root, "later/late"), here(t, tree, "later/late"))
	}
}
