package idmap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

var testMap = &Map{UIDs: []Range{{0, 100000, 65536}}, GIDs: []Range{{0, 200000, 1000}}}

func TestNewPair(t *testing.T) {
	rootful.Check(t)
	user, net, err := NewPair(testMap)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	defer net.Close()
	owner, err := unix.IoctlRetInt(int(net.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(owner)
	var a, b unix.Stat_t
	if unix.Fstat(owner, &a) != nil || unix.Fstat(int(user.Fd()), &b) != nil || a.Ino != b.Ino {
		t.Errorf("the network namespace belongs to user namespace %d, want %d", a.Ino, b.Ino)
	}
}

// TestMapOfNamespace sees the map through an id-mapped mount.
func TestMapOfNamespace(t *testing.T) {
	rootful.Check(t)
	user, err := New(testMap)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	dir := t.TempDir()
	if err := os.Chown(dir, 7, 8); err != nil {
		t.Fatal(err)
	}
	m, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(m)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user.Fd())}
	if err := unix.MountSetattr(m, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(m, &st); err != nil || st.Uid != 100007 || st.Gid != 200008 {
		t.Errorf("7:8 is %d:%d behind the map (%v)", st.Uid, st.Gid, err)
	}
}

func TestNewRefusesAMapTheKernelRefuses(t *testing.T) {
	rootful.Check(t)
	r := []Range{{0, 100000, 10}, {5, 200000, 10}} // the ranges overlap
	if f, err := New(&Map{UIDs: r, GIDs: r}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestAs(t *testing.T) {
	rootful.Check(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "x")
	err := As(1234, 5678, func() error {
		return os.WriteFile(file, nil, 0o600) // the directory is root's: the capability stays
	})
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil || st.Uid != 1234 || st.Gid != 5678 {
		t.Errorf("the file belongs to %d:%d (%v)", st.Uid, st.Gid, err)
	}
	want := errors.New("own error")
	if err := As(1, 1, func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
}
