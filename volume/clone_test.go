package volume

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

func write(t *testing.T, v *Volume, name, text string) string {
	t.Helper()
	p := filepath.Join(v.Mountpoint, name)
	if err := os.WriteFile(p, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return p
}

func create(t *testing.T, s *Store, r Request) *Volume {
	t.Helper()
	v, err := s.Create(r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestClone copies all that files have, and is another volume from then on.
func TestClone(t *testing.T) {
	rootful.Check(t)
	s := open(t, t.TempDir())
	v := create(t, s, Request{Name: "data", Labels: map[string]string{"a": "b"}})
	f := write(t, v, "f", "one")
	if err := errors.Join(os.Chown(f, 5, 6), unix.Setxattr(f, "user.k", []byte("v"), 0), os.Chown(v.Mountpoint, 7, 8), os.Chmod(v.Mountpoint, 0o711)); err != nil {
		t.Fatal(err)
	}
	c, err := s.Clone("data", Request{Name: "copy"})
	if err != nil || c.Labels["a"] != "b" || c.Name != "copy" {
		t.Fatalf("%+v, %v", c, err)
	}
	write(t, v, "f", "two")
	b, err := os.ReadFile(filepath.Join(c.Mountpoint, "f"))
	if err != nil || string(b) != "one" {
		t.Errorf("%q, %v", b, err)
	}
	var st, dir syscall.Stat_t
	x := make([]byte, 8)
	n, err := unix.Getxattr(filepath.Join(c.Mountpoint, "f"), "user.k", x)
	if e := errors.Join(err, syscall.Stat(filepath.Join(c.Mountpoint, "f"), &st), syscall.Stat(c.Mountpoint, &dir)); e != nil || st.Uid != 5 || st.Mode&0o777 != 0o640 || string(x[:n]) != "v" || dir.Gid != 8 || dir.Mode&0o777 != 0o711 {
		t.Errorf("%+v %+v %q %v", st, dir, x, e)
	}
	// What is mounted while somebody uses it is copied, not the empty directory.
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "theirs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, s, Request{Name: "bound", Options: map[string]string{"type": "none", "device": shared, "o": "bind"}})
	c, err = s.Clone("bound", Request{Name: "mine"})
	if err != nil || len(c.Options) != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := os.Stat(filepath.Join(c.Mountpoint, "theirs")); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct {
		from string
		r    Request
		kind fault.Kind
		want string
	}{
		{"none", Request{Name: "new"}, fault.NotFound, "get none: no such volume"},
		{"data", Request{Name: "copy"}, fault.Conflict, "create copy: there is a volume of that name"},
		{"data", Request{Name: "../up"}, fault.Invalid, "invalid characters"},
		{"data", Request{Name: "new", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}}, fault.Invalid, "lies on this machine's disk"},
	} {
		if _, err := s.Clone(tc.from, tc.r); !fault.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s to %+v: %v", tc.from, tc.r, err)
		}
	}
	boom := errors.New("boom")
	if _, err := s.Make(Request{Name: "half"}, func(*os.File) error { return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	if _, err := s.Get("half"); !fault.Is(err, fault.NotFound) {
		t.Errorf("half a volume: %v", err)
	}
	s.Close()
	if es, _ := filepath.Glob(filepath.Join(s.root, ".*")); len(es) != 0 {
		t.Errorf("left: %v", es)
	}
}

// TestRename moves a volume that nobody needs, and no other.
func TestRename(t *testing.T) {
	rootful.Check(t)
	root := t.TempDir()
	s := open(t, root)
	v := create(t, s, Request{})
	write(t, v, "f", "kept")
	create(t, s, Request{Name: "other"})
	if err := os.Mkdir(filepath.Join(root, "foreign"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Use(Request{Name: "used"}, "c1"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		from, to string
		kind     fault.Kind
		want     string
	}{
		{"none", "new", fault.NotFound, "get none: no such volume"},
		{"other", v.Name, fault.Conflict, "there is a volume"},
		{"other", "a/b", fault.Invalid, "invalid characters"},
		{"other", "foreign", fault.Conflict, "is in the way"},
		{"used", "new", fault.Conflict, "rename used: volume is in use - [c1]"},
	} {
		if _, err := s.Rename(tc.from, tc.to); !fault.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s to %s: %v", tc.from, tc.to, err)
		}
	}
	err := s.Read("other", func(*os.File) error {
		if err := s.Remove("other", false); !fault.Is(err, fault.Conflict) {
			t.Errorf("removed while it is read: %v", err)
		}
		_, err := s.Rename("other", "new")
		return err
	})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("renamed while it is read: %v", err)
	}
	got, err := s.Rename(v.Name, "named")
	if err != nil || got.Anonymous() || !got.CreatedAt.Equal(v.CreatedAt) {
		t.Fatalf("%+v, %v", got, err)
	}
	s = open(t, root)
	got, err = s.Get("named")
	if err != nil || got.Anonymous() {
		t.Fatalf("%+v, %v", got, err)
	}
	if b, err := os.ReadFile(filepath.Join(got.Mountpoint, "f")); err != nil || string(b) != "kept" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := s.Get(v.Name); !fault.Is(err, fault.NotFound) {
		t.Errorf("the old name: %v", err)
	}
}
