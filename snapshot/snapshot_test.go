package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

func lower(t *testing.T, name, content string) string {
	t.Helper()
	d := t.TempDir()
	if err := os.WriteFile(filepath.Join(d, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLifeOfALayer(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	ls, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ls.Create("c1", true, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ls.Create("c1", false, 0); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second c1: %v", err)
	}
	image := []string{lower(t, "f", "top"), lower(t, "g", "bottom")}
	if err := os.Chmod(image[0], 0o751); err != nil {
		t.Fatal(err)
	}
	for round, volatile := range []bool{false, true, true} {
		m, err := l.Mount(image, volatile, nil)
		if err != nil {
			t.Fatal(err)
		}
		in := "/proc/self/fd/" + strconv.Itoa(int(m.Fd())) + "/"
		for name, want := range map[string]string{"f": "top", "g": "bottom"} {
			if b, err := os.ReadFile(in + name); err != nil || string(b) != want {
				t.Errorf("round %d: %s is %q, %v", round, name, b, err)
			}
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(m.Fd()), &st); err != nil || st.Mode&0o7777 != 0o751 {
			t.Errorf("the root's mode is %o, %v; want the image's", st.Mode, err)
		}
		if err := os.WriteFile(in+"new"+strconv.Itoa(round), make([]byte, 8192), 0o600); err != nil {
			t.Error(err)
		}
		m.Close()
	}
	size, n, err := l.Usage(t.Context())
	if err != nil || n != 4 || size < 3*8192 {
		t.Errorf("usage %d bytes, %d entries, %v", size, n, err)
	}
	if err := ls.Remove("c1"); err != nil {
		t.Fatal(err)
	}
	if ids, err := ls.List(); err != nil || len(ids) != 0 {
		t.Errorf("left %q, %v", ids, err)
	}
	if err := ls.Remove("c1"); err != nil {
		t.Errorf("removing it again: %v", err)
	}
	if err := ls.Close(); err != nil {
		t.Fatal(err)
	}
	if es, _ := os.ReadDir(filepath.Join(root, trashDir)); len(es) != 0 {
		t.Errorf("%d entries in the trash", len(es))
	}
}

// Mount points that an image lacks are there without any work; those it has count.
func TestMountPoints(t *testing.T) {
	rootful.Check(t)
	ls, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer ls.Close()
	image := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(image, "proc"), 0o555), os.Symlink("usr/etc", filepath.Join(image, "etc"))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		lowers []string
		want   map[string]fs.FileMode
	}{
		"bare": {[]string{lower(t, "f", "")}, map[string]fs.FileMode{
			"proc": fs.ModeDir | 0o755, "sys": fs.ModeDir | 0o755, "dev": fs.ModeDir | 0o755,
			"etc/hosts": 0o755, "etc/hostname": 0o755, "etc/resolv.conf": 0o755, ".dockerenv": 0o755,
			"etc/mtab": fs.ModeSymlink | 0o777,
		}},
		"own": {[]string{image}, map[string]fs.FileMode{"proc": fs.ModeDir | 0o555, "etc": fs.ModeSymlink | 0o777}},
	} {
		l, err := ls.Create(name, false, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := l.Mount(c.lowers, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		for file, mode := range c.want {
			fi, err := os.Lstat("/proc/self/fd/" + strconv.Itoa(int(m.Fd())) + "/" + file)
			if err != nil || fi.Mode() != mode {
				t.Errorf("%s: %s: %v, %v; want %v", name, file, fi, err, mode)
			}
		}
		m.Close()
		if es, _ := os.ReadDir(l.Upper()); len(es) != 0 {
			t.Errorf("%s: the layer is not empty: %v", name, es)
		}
		if err := ls.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenEmptiesTrash(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	left := filepath.Join(root, trashDir, "x", "upper")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	ls, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ls.Create("kept", false, 0); err != nil {
		t.Fatal(err)
	}
	if err := ls.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the trash is there: %v", err)
	}
	if ids, err := ls.List(); err != nil || !slices.Equal(ids, []string{"kept"}) {
		t.Errorf("layers %q, %v", ids, err)
	}
}

func TestInvalidIDs(t *testing.T) {
	ls, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer ls.Close()
	for _, id := range []string{"", ".", "..", ".trash", "a/b", "../a"} {
		if _, err := ls.Create(id, false, 0); fault.KindOf(err) != fault.Invalid {
			t.Errorf("create %q: %v", id, err)
		}
		if err := ls.Remove(id); fault.KindOf(err) != fault.Invalid {
			t.Errorf("remove %q: %v", id, err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	ls, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now().UnixNano()
	for i := int64(0); b.Loop(); i++ {
		if _, err := ls.Create(strconv.FormatInt(start+i, 10), false, 0); err != nil {
			b.Fatal(err)
		}
	}
}
