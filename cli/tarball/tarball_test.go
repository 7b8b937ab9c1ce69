package tarball

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func names(t *testing.T, archive []byte) (l []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return l
		}
		if err != nil {
			t.Fatal(err)
		}
		n := h.Name
		if h.Linkname != "" {
			n += " -> " + h.Linkname
		}
		l = append(l, n)
	}
}

func sample(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "src")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o640)
	os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "hard"))
	os.Symlink("file", filepath.Join(dir, "link"))
	return dir
}

func TestPackAndUnpack(t *testing.T) {
	dir := sample(t)
	for name, want := range map[string][]string{
		"src": {"src/", "src/file", "src/hard -> src/file", "src/link -> file", "src/sub/"},
		"new": {"new/", "new/file", "new/hard -> new/file", "new/link -> file", "new/sub/"},
		".":   {"./", "./file", "./hard -> ./file", "./link -> file", "./sub/"},
	} {
		var b bytes.Buffer
		if err := Pack(&b, dir, name); err != nil {
			t.Fatal(err)
		}
		if got := names(t, b.Bytes()); !slices.Equal(got, want) {
			t.Errorf("as %s: %q, want %q", name, got, want)
		}
		to := t.TempDir()
		same := func(n string) string { return n }
		if err := Unpack(to, &b, same, func(w string) { t.Error(w) }); err != nil {
			t.Fatal(err)
		}
		if c, err := os.ReadFile(filepath.Join(to, name, "hard")); err != nil || string(c) != "content" {
			t.Errorf("as %s: %q, %v", name, c, err)
		}
		if fi, err := os.Stat(filepath.Join(to, name, "file")); err != nil || fi.Mode() != 0o640 {
			t.Errorf("as %s: %v, %v", name, fi, err)
		}
		if l, err := os.Readlink(filepath.Join(to, name, "link")); err != nil || l != "file" {
			t.Errorf("as %s: %q, %v", name, l, err)
		}
	}
	var b bytes.Buffer
	if err := Pack(&b, filepath.Join(dir, "file"), "renamed"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, b.Bytes()); !slices.Equal(got, []string{"renamed"}) {
		t.Error(got)
	}
}

type member struct {
	kind             byte
	name, link, body string
}

func archiveOf(t testing.TB, ms ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range ms {
		if err := w.WriteHeader(&tar.Header{Typeflag: m.kind, Name: m.name, Linkname: m.link, Mode: 0o644, Size: int64(len(m.body))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, m.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpackBeside unpacks into a directory beside which lies a file that must stay.
func unpackBeside(t testing.TB, archive []byte) (dir string, warnings []string, err error) {
	t.Helper()
	top := t.TempDir()
	dir = filepath.Join(top, "dir")
	os.MkdirAll(filepath.Join(dir, "kept"), 0o755)
	os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o644)
	os.WriteFile(filepath.Join(top, "secret"), []byte("untouched"), 0o600)
	err = Unpack(dir, bytes.NewReader(archive), func(n string) string { return n }, func(w string) { warnings = append(warnings, w) })
	if b, e := os.ReadFile(filepath.Join(top, "secret")); e != nil || string(b) != "untouched" {
		t.Errorf("outside: %q, %v", b, e)
	}
	if es, _ := os.ReadDir(top); len(es) != 2 {
		t.Errorf("outside: %v", es)
	}
	return dir, warnings, err
}

func TestUnpackHostile(t *testing.T) {
	for _, tc := range []struct {
		name    string
		archive []byte
		says    string
	}{
		{"climbing", archiveOf(t, member{tar.TypeReg, "../secret", "", "x"}), "would not be inside"},
		{"absolute", archiveOf(t, member{tar.TypeReg, "/secret", "", "x"}), ""},
		{"through a link", archiveOf(t, member{tar.TypeSymlink, "l", "..", ""}, member{tar.TypeReg, "l/secret", "", "x"}), "escapes"},
		{"onto a link", archiveOf(t, member{tar.TypeSymlink, "l", "../secret", ""}, member{tar.TypeReg, "l", "", "x"}), ""},
		{"hard link out", archiveOf(t, member{tar.TypeLink, "h", "../secret", ""}), "would not be inside"},
		{"hard link by a link", archiveOf(t, member{tar.TypeSymlink, "l", "..", ""}, member{tar.TypeLink, "h", "l/secret", ""}), "escapes"},
		{"directory mode of a link", archiveOf(t, member{tar.TypeDir, "d", "", ""}, member{tar.TypeSymlink, "d/l", "../..", ""}, member{tar.TypeDir, "d/l", "", ""}), "cannot overwrite non-directory"},
		{"a file for a directory", archiveOf(t, member{tar.TypeReg, "kept", "", "x"}), "cannot overwrite directory"},
		{"a directory for a file", archiveOf(t, member{tar.TypeDir, "old", "", ""}), "cannot overwrite non-directory"},
		{"a file for a file", archiveOf(t, member{tar.TypeReg, "old", "", "new"}), ""},
	} {
		_, _, err := unpackBeside(t, tc.archive)
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
		}
	}
	if _, w, err := unpackBeside(t, archiveOf(t, member{tar.TypeChar, "null", "", ""})); err != nil || len(w) != 1 {
		t.Errorf("a device: %q, %v", w, err)
	}
}

// FuzzUnpack unpacks any archive: nothing outside of the directory changes.
func FuzzUnpack(f *testing.F) {
	f.Add(archiveOf(f, member{tar.TypeReg, "a/b", "", "x"}, member{tar.TypeSymlink, "l", "..", ""}, member{tar.TypeLink, "h", "a/b", ""}))
	f.Add(archiveOf(f, member{tar.TypeDir, "./", "", ""}, member{tar.TypeReg, "../../secret", "", "x"}))
	f.Fuzz(func(t *testing.T, b []byte) { unpackBeside(t, b) })
}
