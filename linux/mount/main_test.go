package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/idmap"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

const first = 100000

func userNamespace(t *testing.T) *os.File {
	t.Helper()
	r := []idmap.Range{{Inside: 0, Outside: first, Size: 65536}}
	f, err := idmap.New(&idmap.Map{UIDs: r, GIDs: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// layers makes n lower directories, top first, and an upper and a work directory. The
// file "all" is in each layer, "only-N" in layer N.
func layers(t *testing.T, dir string, n int) OverlayConfig {
	t.Helper()
	var c OverlayConfig
	for i := range n {
		l := filepath.Join(dir, fmt.Sprintf("layer-%03d", i))
		if err := os.MkdirAll(l, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"all", fmt.Sprintf("only-%d", i)} {
			if err := os.WriteFile(filepath.Join(l, name), fmt.Append(nil, i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c.Lower = append(c.Lower, l)
	}
	c.Upper, c.Work = filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{c.Upper, c.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

type way struct {
	name   string
	make   func(OverlayConfig) (*os.File, error)
	idmaps bool
}

// ways are those that this kernel has. The chosen one is always among them.
func ways(t *testing.T) []way {
	l := []way{{"chosen", Overlay, true}, {"path", byPath, false}, {"staging", byStaging, true}}
	if takesLayer(t, nil) {
		l = append(l, way{"descriptor", byDescriptorAsRoot, takesLayer(t, userNamespace(t))})
	}
	return l
}

// takesLayer asks the kernel whether overlays take layers as descriptors, id-mapped by
// userns.
func takesLayer(t *testing.T, userns *os.File) bool {
	t.Helper()
	fs, err := open("overlay")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	for range 2 { // the fewest without an upper layer
		f, err := layer(t.TempDir(), userns)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if unix.FsconfigSetFd(fs, "lowerdir+", int(f.Fd())) != nil {
			return false
		}
	}
	return unix.FsconfigCreate(fs) == nil
}

func byDescriptorAsRoot(c OverlayConfig) (f *os.File, err error) {
	err = asRoot(c, func() error {
		f, err = byDescriptor(c)
		return err
	})
	return f, err
}

// TestOverlay makes overlays of few and many layers in every way, with and without a
// user namespace, and writes into them.
func TestOverlay(t *testing.T) {
	userns := userNamespace(t)
	if _, err := stager(); err != nil { // lives on, so it is no leak of a test
		t.Fatal(err)
	}
	for _, way := range ways(t) {
		for _, n := range []int{1, 40, 120} {
			for _, ns := range []*os.File{nil, userns} {
				if ns != nil && !way.idmaps {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d/mapped=%v", way.name, n, ns != nil), func(t *testing.T) {
					rootful.Check(t)
					c := layers(t, t.TempDir(), n)
					c.UserNS = ns
					f, err := way.make(c)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					checkOverlay(t, f, c, n)
				})
			}
		}
	}
}

func checkOverlay(t *testing.T, f *os.File, c OverlayConfig, n int) {
	t.Helper()
	for name, want := range map[string]string{"all": "0", fmt.Sprintf("only-%d", n-1): fmt.Sprint(n - 1)} {
		in, err := OpenIn(f, name, unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		got := make([]byte, 8)
		k, _ := in.Read(got)
		if string(got[:k]) != want {
			t.Errorf("%s holds %q, want %q", name, got[:k], want)
		}
		var st unix.Stat_t
		unix.Fstat(int(in.Fd()), &st)
		if wantUID := uint32(first); (st.Uid == wantUID) != (c.UserNS != nil) {
			t.Errorf("%s belongs to %d", name, st.Uid)
		}
	}
	uid := 0
	if c.UserNS != nil {
		uid = first
	}
	err := idmap.As(uid, uid, func() error {
		d, err := MkdirIn(f, "/new/dir", 0o755, uid, uid)
		if err == nil {
			d.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(c.Upper, "new/dir"), &st); err != nil || st.Uid != 0 {
		t.Errorf("in the upper directory new/dir belongs to %d (%v)", st.Uid, err)
	}
}

// TestOverlayOfLongPaths has layers whose paths fsconfig(2) does not take.
func TestOverlayOfLongPaths(t *testing.T) {
	rootful.Check(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200), strings.Repeat("e", 100))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := layers(t, dir, 3)
	if _, err := byPath(c); !errors.Is(err, errNextWay) {
		t.Errorf("by path: %v", err)
	}
	f, err := Overlay(c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	checkOverlay(t, f, c, 3)
}

func TestReadOnlyAndVolatileOverlay(t *testing.T) {
	rootful.Check(t)
	for _, way := range ways(t) {
		c := layers(t, t.TempDir(), 2)
		c.ReadOnly, c.Volatile = true, true
		f, err := way.make(c)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if d, err := MkdirIn(f, "x", 0o755, 0, 0); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: made %v, %v in a read-only overlay", way.name, d, err)
		}
		if _, err := os.Stat(filepath.Join(c.Work, "work/incompat/volatile")); err != nil {
			t.Errorf("%s: the overlay is not volatile: %v", way.name, err)
		}
	}
}

func TestOverlayOfMissingLayer(t *testing.T) {
	rootful.Check(t)
	for _, way := range ways(t) {
		c := layers(t, t.TempDir(), 1)
		c.Lower = append(c.Lower, "/no/such/layer")
		if f, err := way.make(c); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: got %v, %v, want ENOENT", way.name, f, err)
		}
	}
	if _, err := Overlay(OverlayConfig{}); err == nil {
		t.Error("an overlay of nothing was made")
	}
}

// TestSub copies parts of an image: a directory, a file, nothing that is outside.
func TestSub(t *testing.T) {
	if _, err := stager(); err != nil {
		t.Fatal(err)
	}
	userns := userNamespace(t)
	for _, n := range []int{1, 3} {
		for _, ns := range []*os.File{nil, userns} {
			t.Run(fmt.Sprintf("%d/mapped=%v", n, ns != nil), func(t *testing.T) {
				rootful.Check(t)
				c := layers(t, t.TempDir(), n)
				c.Upper, c.Work, c.ReadOnly, c.UserNS = "", "", true, ns
				bottom := c.Lower[n-1]
				for _, err := range []error{
					os.Mkdir(filepath.Join(bottom, "dir"), 0o755), os.WriteFile(filepath.Join(bottom, "dir", "file"), []byte("here"), 0o644),
					os.Symlink("dir", filepath.Join(bottom, "good")), os.Symlink("../../..", filepath.Join(bottom, "bad")), os.Symlink("/dir", filepath.Join(bottom, "absolute")),
				} {
					if err != nil {
						t.Fatal(err)
					}
				}
				checkSub(t, c)
			})
		}
	}
}

func checkSub(t *testing.T, c OverlayConfig) {
	t.Helper()
	for sub, want := range map[string]string{
		"dir": "", "good": "", "dir/file": "", "dir/../dir": "",
		"bad": "path concatenation escapes the base directory", "absolute": "path concatenation escapes", "../x": "path concatenation escapes",
		"missing": "cannot access path missing", "dir/file/x": "cannot access path",
	} {
		whole, err := Overlay(c)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Sub(whole, sub)
		whole.Close()
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", sub, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", sub, err)
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || (st.Mode&unix.S_IFMT == unix.S_IFREG) != (sub == "dir/file") {
			t.Errorf("%s: %+v, %v", sub, st, err)
		}
		f.Close()
	}
}

// TestTwin copies a whole mount twice, and both show the same files.
func TestTwin(t *testing.T) {
	if _, err := stager(); err != nil {
		t.Fatal(err)
	}
	rootful.Check(t)
	whole, err := Overlay(layers(t, t.TempDir(), 2))
	if err != nil {
		t.Fatal(err)
	}
	a, b, err := Twin(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	f, err := CreateIn(a, "/new", 0o644, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f, err = OpenIn(b, "/new", unix.O_PATH); err != nil {
		t.Fatal(err)
	}
	f.Close()
}
