package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSplitCopy(t *testing.T) {
	for arg, want := range map[string][2]string{
		"c:/p": {"c", "/p"}, "c:p": {"c", "p"}, "c:": {"c", ""}, "./c:p": {"", "./c:p"}, "/c:p": {"", "/c:p"}, "p": {"", "p"}, "-": {"", "-"}, "..:x": {"", "..:x"},
	} {
		if c, p := splitCopy(arg); c != want[0] || p != want[1] {
			t.Errorf("%q: %q, %q; want %q", arg, c, p, want)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, tc := range []struct {
		end             copyEnd
		isDir           bool
		dir, name, says string
	}{
		{copyEnd{"/d", true, true}, false, "/d", "src", ""},
		{copyEnd{"/d/f", true, false}, false, "/d", "f", ""},
		{copyEnd{"/d/f", true, false}, true, "", "", "cannot copy directory"},
		{copyEnd{"/d/new", false, false}, true, "/d", "new", ""},
		{copyEnd{"/d/new/", false, false}, true, "/d", "new", ""},
		{copyEnd{"/d/new", false, false}, false, "/d", "new", ""},
		{copyEnd{"/d/new/", false, false}, false, "", "", "no such directory"},
		{copyEnd{"/d/new/.", false, false}, false, "", "", "no such directory"},
	} {
		dir, name, err := tc.end.place(tc.isDir, "src")
		says := ""
		if err != nil {
			says = err.Error()
		}
		if dir != tc.dir || name != tc.name || says != tc.says {
			t.Errorf("%+v, %v: %q, %q, %q", tc.end, tc.isDir, dir, name, says)
		}
	}
}

func TestRenamer(t *testing.T) {
	for _, tc := range [][4]string{
		{"etc", "new", "etc/passwd", "new/passwd"}, {"etc", "new", "etc/", "new/"}, {"etc", "new", "etcetera", "etcetera"},
		{".", "new", "./x", "new/x"}, {"/", "new", "/bin/sh", "new/bin/sh"}, {"/", "/", "/bin", "/bin"}, {"a", "a", "a", "a"},
	} {
		if got := renamer(tc[0], tc[1])(tc[2]); got != tc[3] {
			t.Errorf("%q for %q: %q becomes %q, want %q", tc[1], tc[0], tc[2], got, tc[3])
		}
	}
}

func TestBehindLink(t *testing.T) {
	for _, tc := range [][4]string{
		{"/a/link", "/b/file", "/b/file", "link"}, {"/a/link/", "/b/dir", "/b/dir/", "link"}, {"/a/link/.", "/b/dir", "/b/dir/.", ""}, {"/a/same", "/b/same", "/b/same", ""}, {"/a/link", "x", "/a/x", "link"},
	} {
		if to, name := behindLink(tc[0], tc[1]); to != tc[2] || name != tc[3] {
			t.Errorf("%s to %s: %q, %q; want %q", tc[0], tc[1], to, name, tc[2:])
		}
	}
}

func TestLocalSource(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(dir+"/real", 0o755)
	os.Symlink("real", dir+"/link")
	os.WriteFile(dir+"/file", nil, 0o644)
	for _, tc := range []struct {
		src    string
		follow bool
		local  string
		name   string
		isDir  bool
	}{
		{"/real", false, "/real", "real", true}, {"/real/", false, "/real", "real", true}, {"/real/.", false, "/real", ".", true},
		{"/link", false, "/link", "link", false}, {"/link", true, "/real", "link", true}, {"/link/", false, "/real", "link", true}, {"/file", false, "/file", "file", false},
	} {
		local, name, isDir, err := localSource(dir+tc.src, tc.follow)
		if err != nil || local != dir+tc.local || name != tc.name || isDir != tc.isDir {
			t.Errorf("%s, %v: %q, %q, %v, %v", tc.src, tc.follow, local, name, isDir, err)
		}
	}
	for _, src := range []string{"/file/", "/file/.", "/none"} {
		if _, _, _, err := localSource(dir+src, false); err == nil {
			t.Errorf("%s is taken", src)
		}
	}
}
