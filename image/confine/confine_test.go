package confine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/image/extract"
	"hoy/lib/fault"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "unpack":
			os.Exit(Main())
		case "attack":
			os.Exit(attack())
		case "crash":
			panic("as an attack may \x1b[31mdo")
		case "lie":
			os.Exit(lie())
		}
	}
	os.Exit(rootful.Main(m))
}

func unpacker(t testing.TB, how string) *Unpacker {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u, err := New(exe, how)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

func layer(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func archive(t testing.TB, hs ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hs {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLayer unpacks by a child all that takes rights, and what needs the engine's help.
func TestLayer(t *testing.T) {
	rootful.Check(t)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	b := archive(t,
		tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o1770, Uid: 5, Gid: 6},
		tar.Header{Name: "d/su", Mode: 0o6755, Uid: 1000, Gid: 1001, Size: 3 << 20, Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.trusted.foreign": "x", "SCHILY.xattr.user.u": "v"}},
		tar.Header{Name: "e/hard", Typeflag: tar.TypeLink, Linkname: "d/su"},
		tar.Header{Name: "d/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd", Uid: 7},
		tar.Header{Name: "d/disk", Typeflag: tar.TypeBlock, Mode: 0o666, Devmajor: 8},
		tar.Header{Name: "d/.wh.gone"},
		tar.Header{Name: "e/.wh..wh..opq"},
		tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o620},
	)
	root := layer(t)
	res, err := unpacker(t, "unpack").Layer(t.Context(), root, bytes.NewReader(b), extract.Limits{Bytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if res.Bytes != 3<<20 || res.Entries != 8 || !slices.Equal(res.Implied, []string{"e"}) || !slices.Equal(res.Opaque, []string{"e"}) {
		t.Errorf("result %+v", res)
	}
	for name, want := range map[string]struct {
		mode     uint32
		uid, gid uint32
	}{
		"d": {unix.S_IFDIR | 0o1770, 5, 6}, "d/su": {unix.S_IFREG | 0o6755, 1000, 1001}, "e/hard": {unix.S_IFREG | 0o6755, 1000, 1001},
		"d/link": {unix.S_IFLNK | 0o777, 7, 0}, "d/disk": {unix.S_IFBLK | 0o666, 0, 0}, "d/gone": {unix.S_IFCHR, 0, 0}, "pipe": {unix.S_IFIFO | 0o620, 0, 0},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root.Name(), name), &st); err != nil || st.Mode != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%s: %v, mode %o, owner %d:%d", name, err, st.Mode, st.Uid, st.Gid)
		}
	}
	v := make([]byte, 64)
	for _, x := range []struct {
		name, attr string
		there      bool
	}{{"d/su", "security.capability", true}, {"d/su", "user.u", true}, {"d/su", "trusted.foreign", false}, {"e", "trusted.overlay.opaque", true}} {
		if _, err := unix.Getxattr(filepath.Join(root.Name(), x.name), x.attr, v); (err == nil) != x.there {
			t.Errorf("%s of %s: %v", x.attr, x.name, err)
		}
	}
}

// TestErrors brings what a child finds wrong back with its kind.
func TestErrors(t *testing.T) {
	rootful.Check(t)
	u := unpacker(t, "unpack")
	large := archive(t, tar.Header{Name: "f", Size: 9 << 20})
	for name, tc := range map[string]struct {
		b    []byte
		want string
		is   error
	}{
		"damaged":   {bytes.Repeat([]byte("x"), 5<<20), "not a tar archive", nil},
		"truncated": {archive(t, tar.Header{Name: "f", Size: 7 << 20})[:3<<20], "truncated", nil},
		"outside":   {archive(t, tar.Header{Name: "../f"}), `"../f" leads out`, nil},
		"too large": {large, "unpacks to more than", extract.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := u.Layer(t.Context(), layer(t), bytes.NewReader(tc.b), extract.Limits{Bytes: 8 << 20})
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("stream", func(t *testing.T) {
		broken := errors.New("the wire is broken")
		_, err := u.Layer(t.Context(), layer(t), io.MultiReader(bytes.NewReader(large[:3<<20]), failing{broken}), extract.Limits{})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := u.Layer(ctx, layer(t), io.MultiReader(bytes.NewReader(large[:3<<20]), cancelling{cancel}, zeros{}), extract.Limits{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("crash", func(t *testing.T) {
		_, err := unpacker(t, "crash").Layer(t.Context(), layer(t), bytes.NewReader(large), extract.Limits{})
		if err == nil || !strings.Contains(err.Error(), "has ended (panic: as an attack may") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("got %q", err)
		}
	})
	t.Run("lies", func(t *testing.T) {
		_, err := unpacker(t, "lie").Layer(t.Context(), layer(t), bytes.NewReader(large), extract.Limits{})
		if !errors.Is(err, errMalformed) {
			t.Errorf("got %v", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type cancelling struct{ cancel func() }

func (c cancelling) Read([]byte) (int, error) { c.cancel(); return 0, io.EOF }

// TestConfined has a child that is taken over try what it must not be able to do.
func TestConfined(t *testing.T) {
	rootful.Check(t)
	if !Landlock() {
		t.Log("the kernel has no landlock: that part is not tried")
	}
	root := layer(t)
	// What another image's tar might have brought before it takes the child over.
	if err := unix.Mknod(filepath.Join(root.Name(), "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	_, err := unpacker(t, "attack").Layer(t.Context(), root, bytes.NewReader(make([]byte, 1024)), extract.Limits{})
	if err == nil || err.Error() != "tried" {
		t.Errorf("the attack got further than it may:\n%v", err)
	}
	if _, err := os.Stat(filepath.Join(root.Name(), "alive")); err != nil {
		t.Errorf("the attack has not run: %v", err)
	}
}

// attack runs in the child and answers with what worked.
func attack() int {
	var worked []string
	try := func(what string, err error) {
		if err == nil {
			worked = append(worked, what)
		}
	}
	os.WriteFile(layerDir+"/alive", nil, 0o600)
	for _, f := range []string{"/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/kcore", "/proc/1/root/etc/passwd", "/layer/../../../etc/passwd", "/dev/null", layerDir + "/null"} {
		_, err := os.ReadFile(f)
		try("read "+f, err)
	}
	for _, f := range []string{"/f", "/proc/self/mem", "/proc/self/exe"} {
		_, err := os.OpenFile(f, os.O_WRONLY|os.O_CREATE, 0o600)
		try("write "+f, err)
	}
	_, err := unix.Mmap(ringFD, 0, chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	try("write to the engine's memory", err)
	_, err = unix.Pwrite(ringFD, []byte("x"), 0)
	try("write to the stream", err)
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	try("make a socket", err)
	_, err = net.Dial("unix", "/run/hoy/hoy.sock")
	try("connect", err)
	try("mount", unix.Mount("", layerDir, "tmpfs", 0, ""))
	try("unmount", unix.Unmount("/proc", unix.MNT_DETACH))
	try("unshare", unix.Unshare(unix.CLONE_NEWUSER))
	try("chroot", unix.Chroot(layerDir))
	try("signal", unix.Kill(-1, 0))
	try("trusted attribute", unix.Setxattr(layerDir, "trusted.overlay.opaque", []byte("y"), 0))
	try("exec", unix.Exec("/proc/self/exe", []string{"x"}, nil))
	_, err = unix.PtracePeekText(1, 0, make([]byte, 8))
	try("trace", err)
	_, err = unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
	try("copy a mount", err)
	_, _, errno := unix.Syscall(unix.SYS_BPF, 0, 0, 0)
	if errno != unix.EPERM {
		try("load a program into the kernel", nil)
	}
	text := "tried"
	if len(worked) > 0 {
		text = strings.Join(worked, "\n")
	}
	send(encodeFailed(errors.New(text)))
	time.Sleep(time.Hour)
	return 0
}

// lie says what makes no sense.
func lie() int {
	send(encodeNames(1, []string{"../../etc"})[0])
	time.Sleep(time.Hour)
	return 0
}

// TestStatus looks at a child from outside.
func TestStatus(t *testing.T) {
	rootful.Check(t)
	c, err := unpacker(t, "unpack").start(layer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.end()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid))
	if err != nil {
		t.Fatal(err)
	}
	const caps = "000000008800001b" // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP
	for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t" + caps, "CapEff:\t" + caps, "CapBnd:\t" + caps, "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Groups:\t "} {
		if !strings.Contains(string(b), "\n"+want+"\n") {
			t.Errorf("the child's status lacks %q:\n%s", want, b)
		}
	}
	for _, ns := range []string{"mnt", "net", "pid", "ipc", "uts"} {
		own, _ := os.Readlink("/proc/self/ns/" + ns)
		if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.Pid, ns)); err != nil || its == own {
			t.Errorf("namespace %s of the child: %v, that of the engine: %v", ns, err, its == own)
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", c.Pid))
	if err != nil || bytes.Count(mounts, []byte("\n")) != 3 || bytes.Count(mounts, []byte("nosuid,nodev,noexec")) != 3 {
		t.Errorf("the child's mounts, %v:\n%s", err, mounts)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(encodeDone(extract.Result{Bytes: 1, Entries: 2}))
	f.Add(encodeNames(0, []string{"a", "b/c"})[0])
	f.Add(encodeNames(1, []string{"."})[0])
	f.Add(encodeFailed(fault.New(fault.Invalid, "bad: %w", unix.ENOSPC)))
	f.Add(message(kindFree, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a answer
		a.take(b)
		for _, n := range append(a.res.Implied, a.res.Opaque...) {
			if n != filepath.Clean(n) || filepath.IsAbs(n) || strings.HasPrefix(n, "..") && (n == ".." || n[2] == '/') {
				t.Errorf("accepted the name %q", n)
			}
		}
	})
}
