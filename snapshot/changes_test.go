package snapshot

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// TestChanges changes a container's files through its overlay mount and reads the
// list from the layer.
func TestChanges(t *testing.T) {
	rootful.Check(t)
	for _, tc := range []struct{ name, do, want string }{
		{"nothing", "", ""},
		{"only touched", "chmod 600 a/file; chmod 644 a/file; : >>a/b/deep", ""},
		{"a new file", "echo x >new; mkdir -p n/m; echo y >n/m/f", "A /n, A /n/m, A /n/m/f, A /new"},
		{"in a directory", "echo x >a/b/new", "C /a, C /a/b, A /a/b/new"},
		{"changed", "echo more >>a/file; chmod 700 a/b", "C /a, C /a/b, C /a/file"},
		{"deleted", "rm a/file; rm -r z", "C /a, D /a/file, D /z"},
		{"moved", "mv a/file a/renamed", "C /a, D /a/file, A /a/renamed"},
		{"a file for a directory", "rm -r a/b; echo x >a/b", "C /a, C /a/b"},
		{"a directory for a file", "rm a/file; mkdir a/file; echo x >a/file/f", "C /a, C /a/file, A /a/file/f"},
		{"made anew", "rm -r a/b; mkdir a/b; echo x >a/b/other", "C /a, C /a/b, D /a/b/deep, A /a/b/other"},
		{"made and deleted", "echo x >a/new; rm a/new", ""},
		{"owner", "chown -h 5 a/link", "C /a, C /a/link"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			top, bottom := t.TempDir(), t.TempDir()
			os.MkdirAll(filepath.Join(top, "a/b"), 0o755)
			os.MkdirAll(filepath.Join(bottom, "z/y"), 0o755)
			os.WriteFile(filepath.Join(top, "a/b/deep"), []byte("d"), 0o644)
			os.WriteFile(filepath.Join(top, "a/file"), []byte("f"), 0o644)
			os.Symlink("/etc", filepath.Join(top, "a/link"))
			os.WriteFile(filepath.Join(bottom, "z/y/f"), []byte("f"), 0o644)
			for _, lowers := range [][]string{{top, bottom}, {top}} {
				if len(lowers) == 1 && strings.Contains(tc.do, "z") {
					continue
				}
				ls, err := Open(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				l, err := ls.Create("c", false, 0)
				if err != nil {
					t.Fatal(err)
				}
				shell(t, l, lowers, tc.do)
				changes, err := l.Changes(t.Context(), lowers)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, c := range changes {
					got = append(got, [...]string{"C", "A", "D"}[c.Kind]+" "+c.Path)
				}
				if text := strings.Join(got, ", "); text != tc.want {
					t.Errorf("%d layers: %q, want %q", len(lowers), text, tc.want)
				}
			}
		})
	}
}

// shell runs commands of a small shell in a layer mounted over others.
func shell(t *testing.T, l Layer, lowers []string, script string) {
	t.Helper()
	m, err := l.Mount(lowers, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dir := "/proc/self/fd/" + strconv.Itoa(int(m.Fd())) + "/"
	for c := range strings.SplitSeq(script, "; ") {
		if err := command(dir, strings.Fields(c)); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
	}
}

func command(dir string, w []string) error {
	if len(w) == 0 {
		return nil
	}
	last := w[len(w)-1]
	switch p := dir + last; w[0] {
	case "rm":
		return os.RemoveAll(p)
	case "mkdir":
		return os.MkdirAll(p, 0o755)
	case "mv":
		return os.Rename(dir+w[1], p)
	case "chmod":
		mode, err := strconv.ParseUint(w[1], 8, 32)
		if err != nil {
			return err
		}
		return os.Chmod(p, os.FileMode(mode))
	case "chown":
		return os.Lchown(p, 5, 0)
	default: // redirections: "echo x >file", ": >>file"
		name := strings.TrimLeft(last, ">")
		flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
		f, err := os.OpenFile(dir+name, flags, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		if slices.Contains(w, "echo") {
			_, err = f.WriteString(w[1])
		}
		return err
	}
}

// The layer holds whole files and directories under their names, however the kernel
// is built: a list of changes, or an image, is made of it alone.
func TestUpperIsComplete(t *testing.T) {
	rootful.Check(t)
	top, bottom := t.TempDir(), t.TempDir()
	os.MkdirAll(filepath.Join(bottom, "dir/sub"), 0o755)
	os.WriteFile(filepath.Join(top, "file"), []byte("content"), 0o644)
	ls, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := ls.Create("c", false, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.Mount([]string{top, bottom}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dir := "/proc/self/fd/" + strconv.Itoa(int(m.Fd())) + "/"
	if err := unix.Rename(dir+"dir", dir+"moved"); err != unix.EXDEV {
		t.Errorf("renaming a directory of the image: %v, want EXDEV", err)
	}
	if err := os.Chmod(dir+"file", 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(l.Upper(), "file")); err != nil || string(b) != "content" {
		t.Errorf("in the layer: %q, %v", b, err)
	}
}
