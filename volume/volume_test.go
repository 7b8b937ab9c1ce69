package volume

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "work" {
		os.Exit(work(os.Args[2], os.Args[3], os.Args[4]))
	}
	os.Exit(rootful.Main(m))
}

func open(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLifeOfAVolume(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	v, err := s.Create(Request{Name: "data", Labels: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(v.Mountpoint, "f"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Create(Request{Name: "data"}); err != nil || !again.CreatedAt.Equal(v.CreatedAt) {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	anon, err := s.Use(Request{Volatile: true}, "c1")
	if err != nil || len(anon.Name) != 64 || !anon.Anonymous() {
		t.Errorf("anonymous: %+v, %v", anon, err)
	}
	if _, err := s.Use(Request{Name: "data"}, "c1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("data", true); fault.KindOf(err) != fault.Conflict || err.Error() != "remove data: volume is in use - [c1]" {
		t.Errorf("remove in use: %v", err)
	}

	s = open(t, root) // another process: nobody refers to it yet
	if got, err := s.Get("data"); err != nil || got.Labels["a"] != "b" || got.Mountpoint != v.Mountpoint || len(s.List()) != 2 {
		t.Errorf("reopened: %+v, %v", got, err)
	}
	if _, err := s.Use(Request{Name: "data"}, "c2"); err != nil {
		t.Fatal(err)
	}
	s.Release("data", "c2")
	s.Release("nobody", "c2")
	if err := s.Remove("data", false); err != nil {
		t.Error(err)
	}
	if err := s.Remove("data", false); fault.KindOf(err) != fault.NotFound || err.Error() != "get data: no such volume" {
		t.Errorf("remove twice: %v", err)
	}
	if err := s.Remove("data", true); err != nil {
		t.Errorf("forced: %v", err)
	}
	s.Close()
	if es, _ := os.ReadDir(root); len(es) != 1 {
		t.Errorf("%d entries left, want the anonymous one", len(es))
	}
}

func TestRefused(t *testing.T) {
	s := open(t, t.TempDir())
	for _, tc := range []struct {
		r    Request
		want string
		kind fault.Kind
	}{
		{Request{Name: "x"}, "too short", fault.Invalid},
		{Request{Name: "../x"}, "invalid characters", fault.Invalid},
		{Request{Name: ".hidden"}, "invalid characters", fault.Invalid},
		{Request{Name: strings.Repeat("n", 256)}, "longer", fault.Invalid},
		{Request{Name: "ok", Driver: "nfs"}, `plugin "nfs" not found`, fault.NotFound},
		{Request{Name: "ok", Options: map[string]string{"type": "tmpfs"}}, `missing required option: "device"`, fault.Invalid},
		{Request{Name: "ok", Options: map[string]string{"device": "x"}}, `missing required option: "type"`, fault.Invalid},
		{Request{Name: "ok", Options: map[string]string{"o": "ro"}}, `missing required option: "device"`, fault.Invalid},
		{Request{Name: "ok", Options: map[string]string{"size": "much"}}, "invalid size", fault.Invalid},
		{Request{Name: "ok", Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "size": "1m"}}, "takes its size in 'o='", fault.Invalid},
		{Request{Name: "ok", Options: map[string]string{"type": "cifs", "device": "//host:445/share"}}, "port not allowed in CIFS device URL", fault.Invalid},
		{Request{Name: "ok", Options: map[string]string{"colour": "blue"}}, "invalid option", fault.Invalid},
	} {
		if _, err := s.Create(tc.r); err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != tc.kind {
			t.Errorf("%+v: %v", tc.r, err)
		}
	}
	if es, _ := os.ReadDir(s.root); len(es) != 0 {
		t.Errorf("%d entries left", len(es))
	}
}

func TestConcurrentUse(t *testing.T) {
	s := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			id := fmt.Sprint("c", i)
			if _, err := s.Use(Request{Name: "shared"}, id); err != nil {
				t.Error(err)
			}
			s.Remove("shared", false)
			if _, err := s.Get("shared"); err != nil {
				t.Errorf("removed while %s uses it", id)
			}
			s.Release("shared", id)
		})
	}
	wg.Wait()
}

func TestPopulate(t *testing.T) {
	rootful.Check(t)
	image := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(secret, []byte("secret"), 0o600))
	d := filepath.Join(image, "srv")
	must(os.MkdirAll(filepath.Join(d, "sub"), 0o755))
	must(os.WriteFile(filepath.Join(d, "sub/f"), []byte("content"), 0o644))
	must(os.Chown(filepath.Join(d, "sub/f"), 5, 6))
	must(os.Chmod(filepath.Join(d, "sub/f"), 0o640|os.ModeSetgid))
	must(unix.Setxattr(filepath.Join(d, "sub/f"), "user.k", []byte("v"), 0))
	must(os.Link(filepath.Join(d, "sub/f"), filepath.Join(d, "again")))
	must(os.Symlink(secret, filepath.Join(d, "out")))
	must(unix.Mkfifo(filepath.Join(d, "pipe"), 0o600))
	must(os.Chmod(filepath.Join(d, "pipe"), 0o622)) // whatever the umask
	must(os.Chown(d, 7, 8))
	must(os.Chmod(d, 0o751))
	must(os.Symlink("/srv", filepath.Join(image, "link")))
	must(os.Symlink(filepath.Dir(secret), filepath.Join(image, "escape")))

	s := open(t, t.TempDir())
	root, err := os.Open(image)
	must(err)
	defer root.Close()
	v, err := s.Create(Request{Name: "data"})
	must(err)
	must(s.Populate("data", "", root, "/missing", nil))
	must(s.Populate("data", "", root, "/escape", nil)) // leads nowhere inside of the image
	must(s.Populate("data", "", root, "/link", nil))   // /srv of the image
	for name, want := range map[string]string{"": "40751 7 8", "sub": "40755 0 0", "sub/f": "102640 5 6", "again": "102640 5 6", "out": "120777 0 0", "pipe": "10622 0 0"} {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(v.Mountpoint, name), &st); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := fmt.Sprintf("%o %d %d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	var a, b syscall.Stat_t
	must(syscall.Stat(filepath.Join(v.Mountpoint, "again"), &a))
	must(syscall.Stat(filepath.Join(v.Mountpoint, "sub/f"), &b))
	x := make([]byte, 8)
	if n, err := unix.Getxattr(filepath.Join(v.Mountpoint, "again"), "user.k", x); a.Ino != b.Ino || err != nil || string(x[:n]) != "v" {
		t.Errorf("hard link %d %d, attribute %q %v", a.Ino, b.Ino, x, err)
	}
	must(os.Remove(filepath.Join(v.Mountpoint, "again")))
	_, err = s.Create(Request{Name: "mapped"})
	must(err)
	ids := &idmap.Map{UIDs: []idmap.Range{{Inside: 1005, Outside: 5, Size: 1}}, GIDs: []idmap.Range{{Inside: 1006, Outside: 6, Size: 1}}}
	must(s.Populate("mapped", "", root, "/srv", ids))
	mapped, err := s.Get("mapped")
	must(err)
	if must(syscall.Stat(filepath.Join(mapped.Mountpoint, "sub/f"), &a)); a.Uid != 1005 || a.Gid != 1006 {
		t.Errorf("behind a map the owner is %d:%d", a.Uid, a.Gid)
	}
	must(s.Populate("data", "", root, "/srv", nil)) // not empty: left alone
	if _, err := os.Lstat(filepath.Join(v.Mountpoint, "again")); err == nil {
		t.Error("a volume in use was populated again")
	}
}

func TestOpenCleans(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	v, err := s.Create(Request{Name: "copying"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{filepath.Join(filepath.Dir(v.Mountpoint), marker), filepath.Join(v.Mountpoint, "half")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, ".HALFMADE", dataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(root, "foreign")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	s = open(t, root)
	s.Close()
	if es, err := os.ReadDir(v.Mountpoint); err != nil || len(es) != 0 {
		t.Errorf("half a copy: %d entries, %v", len(es), err)
	}
	es, _ := os.ReadDir(root)
	if len(es) != 2 || len(s.List()) != 1 {
		t.Errorf("%v left, %d volumes; want the volume and what is not ours", es, len(s.List()))
	}
}

// TestDamagedRecord has the record of a volume be cut off: it is no volume until that is
// mended, nobody gets another in its place, and its files stay.
func TestDamagedRecord(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	t.Run("made", func(t *testing.T) { write(t, create(t, open(t, root), Request{Name: "mine"}), "f", "kept") })
	record := filepath.Join(root, "mine", recordFile)
	whole, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(record, int64(len(whole)/2)); err != nil {
		t.Fatal(err)
	}
	s := open(t, root)
	if _, err := s.Create(Request{Name: "mine"}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), recordFile) {
		t.Errorf("created: %v", err)
	}
	if err := os.WriteFile(record, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := open(t, root).Get("mine"); err != nil {
		t.Error(err)
	} else if b, err := os.ReadFile(filepath.Join(v.Mountpoint, "f")); string(b) != "kept" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestVolumesAreNotOtherUsers has another user of the machine name a file of a volume that
// all inside may read, also where an earlier engine has made the folder.
func TestVolumesAreNotOtherUsers(t *testing.T) {
	rootful.Check(t)
	root, err := os.MkdirTemp("", "volumes") // not t.TempDir: nobody but its user enters that
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	v := create(t, open(t, root), Request{Name: "mine"})
	write(t, v, "f", "secret")
	path := filepath.Join(v.Mountpoint, "f")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, filepath.Dir(v.Mountpoint)} { // as they were
		if err := os.Chmod(dir, 0o701); err != nil {
			t.Fatal(err)
		}
	}
	open(t, root)
	c := exec.Command("/bin/cat", path)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := c.CombinedOutput(); err == nil {
		t.Errorf("nobody reads %q", out)
	}
}
