package volume

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// TestMountedVolume: the file system of a volume's options is there while containers
// run, also over an engine's end, and what is in it is nobody's to delete.
func TestMountedVolume(t *testing.T) {
	rootful.Check(t)
	root, shared := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "f"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, root)
	for name, o := range map[string]map[string]string{
		"mem":    {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7,noexec"},
		"theirs": {"type": "none", "device": shared, "o": "bind,ro"},
	} {
		if _, err := s.Use(Request{Name: name, Options: o}, "c1"); err != nil {
			t.Fatal(err)
		}
		if err := s.Mount(name, "c1"); err != nil {
			t.Fatal(err)
		}
	}
	mem, err := s.Get("mem")
	if err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(mem.Mountpoint, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || uint64(fs.Bsize)*fs.Blocks != 1<<20 || fs.Flags&unix.ST_NOEXEC == 0 {
		t.Errorf("the tmpfs: %+v, %v", fs, err)
	}
	theirs, _ := s.Get("theirs")
	if b, err := os.ReadFile(filepath.Join(theirs.Mountpoint, "f")); err != nil || string(b) != "theirs" {
		t.Errorf("through the bind: %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(theirs.Mountpoint, "g"), nil, 0o600); err == nil {
		t.Error("a read-only bind was written to")
	}

	s = open(t, root) // the next engine: mem's container runs on, that of theirs does not
	if _, err := s.Use(Request{Name: "mem"}, "c1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Mount("mem", "c1"); err != nil {
		t.Fatal(err)
	}
	s.Tidy()
	if is, err := isMounted(theirs.Mountpoint); is || err != nil {
		t.Errorf("left mounted: %v", err)
	}
	if err := s.Mount("mem", "c2"); err != nil {
		t.Fatal(err)
	}
	s.Unmount("mem", "c1")
	if is, _ := isMounted(mem.Mountpoint); !is {
		t.Error("unmounted under a container")
	}
	s.Unmount("mem", "c2")
	if is, _ := isMounted(mem.Mountpoint); is {
		t.Error("still mounted")
	}
	// Even when something is mounted that should not be, it is not deleted.
	if err := s.Mount("theirs", "c3"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("theirs", false); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, err := os.Stat(filepath.Join(shared, "f")); err != nil {
		t.Errorf("removing the volume removed what was mounted in it: %v", err)
	}
}

// TestMountFails: the server's name is looked up, and a password is not told.
func TestMountFails(t *testing.T) {
	rootful.Check(t)
	s := open(t, t.TempDir())
	if _, err := s.Create(Request{Name: "bad", Options: map[string]string{"type": "nosuchfs", "device": "x", "o": "password=secret"}}); err != nil {
		t.Fatal(err)
	}
	err := s.Mount("bad", "c")
	if err == nil || !strings.Contains(err.Error(), "failed to mount local volume") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	for _, tc := range []struct{ kind, device, o, wantDevice, wantOptions string }{
		{"nfs", ":/x", "addr=localhost,rw", ":/x", "addr=127.0.0.1,rw"},
		{"nfs", ":/x", "addr=192.0.2.1", ":/x", "addr=192.0.2.1"},
		{"cifs", "//localhost/share", "user=a", "//127.0.0.1/share", "user=a"},
		{"cifs", "//192.0.2.1/my share", "", "//192.0.2.1/my share", ""},
		{"tmpfs", "localhost", "addr=localhost", "localhost", "addr=localhost"},
	} {
		v := Volume{Options: map[string]string{"type": tc.kind, "device": tc.device, "o": tc.o}}
		device, o, err := v.resolved()
		if a, _ := net.ResolveIPAddr("ip", "localhost"); a != nil { // it may be ::1 somewhere
			tc.wantDevice = strings.Replace(tc.wantDevice, "127.0.0.1", a.String(), 1)
			tc.wantOptions = strings.Replace(tc.wantOptions, "127.0.0.1", a.String(), 1)
		}
		if err != nil || device != tc.wantDevice || o != tc.wantOptions {
			t.Errorf("%+v: %q %q %v", tc, device, o, err)
		}
	}
}
