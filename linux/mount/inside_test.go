package mount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// tree makes a root directory with the given links (path -> target) and directories.
func tree(t *testing.T, dirs []string, links map[string]string) *os.File {
	t.Helper()
	f, err := Tmpfs(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, d := range dirs {
		m, err := MkdirIn(f, d, 0o755, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	for name, to := range links {
		if err := unix.Symlinkat(to, int(f.Fd()), name); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestResolve(t *testing.T) {
	rootful.Check(t)
	root := tree(t, []string{"a/b", "c"}, map[string]string{
		"abs": "/a", "rel": "a/b", "out": "../../c", "gone": "/new/place", "chain": "gone/more", "loop": "loop", "dot": "/",
	})
	for _, tc := range []struct{ path, at, missing string }{
		{"/", "/", ""},
		{"/a/b", "/a/b", ""},
		{"a//b/.", "/a/b", ""},
		{"/../../a", "/a", ""},
		{"/abs/b", "/a/b", ""},
		{"/rel", "/a/b", ""},
		{"/out", "/c", ""},
		{"/dot/dot/c", "/c", ""},
		{"/a/x", "/a", "x"},
		{"/abs/x/y/z", "/a", "x/y/z"},
		{"/gone", "/", "new/place"},
		{"/gone/x", "/", "new/place/x"},
		{"/chain", "/", "new/place/more"},
	} {
		p, err := Resolve(root, tc.path)
		if err != nil {
			t.Errorf("%s: %v", tc.path, err)
			continue
		}
		p.Dir.Close()
		if p.Path != tc.at || strings.Join(p.Missing, "/") != tc.missing {
			t.Errorf("%s: at %s missing %s, want %s and %s", tc.path, p.Path, p.Missing, tc.at, tc.missing)
		}
	}
	if _, err := Resolve(root, "/loop/x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a loop: %v", err)
	}
}

func TestOpenInFollowsNoMagicLinks(t *testing.T) {
	rootful.Check(t)
	root, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, p := range []string{"/self/root/etc", "/self/cwd", "/self/exe"} {
		if f, err := OpenIn(root, p, unix.O_PATH); !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s: got %v, %v", p, f, err)
		}
	}
}

func TestCreateIn(t *testing.T) {
	rootful.Check(t)
	root := tree(t, []string{"a"}, map[string]string{"l": "/a/sub"})
	unix.Umask(0o077)
	defer unix.Umask(0o022)
	for _, tc := range []struct {
		path string
		make func(*os.File, string, uint32, int, int) (*os.File, error)
		mode uint32
	}{
		{"l/file", CreateIn, unix.S_IFREG | 0o644},
		{"l/dir", MkdirIn, unix.S_IFDIR | 0o755},
	} {
		f, err := tc.make(root, tc.path, tc.mode&0o777, 7, 8)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode != tc.mode || st.Uid != 7 || st.Gid != 8 {
			t.Errorf("%s: mode %o of %d:%d", tc.path, st.Mode, st.Uid, st.Gid)
		}
		again, err := tc.make(root, filepath.Join("/a/sub", filepath.Base(tc.path)), 0o700, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if s := st; unix.Fstat(int(again.Fd()), &st) != nil || st.Ino != s.Ino || st.Mode != s.Mode {
			t.Errorf("%s was changed by making it again", tc.path)
		}
	}
}

func TestErrorsNameCallAndObject(t *testing.T) {
	rootful.Check(t)
	for _, tc := range []struct {
		want string
		do   func() (*os.File, error)
	}{
		{"cannot bind /none: open_tree: no such file or directory", func() (*os.File, error) { return Bind("/none", false) }},
		{"cannot open file system none: fsopen: no such device", func() (*os.File, error) { return New("none", "", 0) }},
		{"cannot configure tmpfs (size=x): fsconfig: invalid argument (tmpfs: Bad value for 'size')", func() (*os.File, error) { return Tmpfs(0, Option{"size", "x"}) }},
	} {
		if f, err := tc.do(); err == nil || err.Error() != tc.want {
			t.Errorf("got %v, %v, want %s", f, err, tc.want)
		}
	}
}
