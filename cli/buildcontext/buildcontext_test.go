//go:build linux

package buildcontext

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/buildfiles"
)

// folderOf makes files of name and text; a name that ends with / is a folder.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listed is what of a source's folder the engine is told, and the texts of its files.
func listed(t *testing.T, s Source, folder string) (c *Context, list []buildfiles.Entry, texts map[string]string) {
	t.Helper()
	c, err := Open(s)
	must(t, err)
	i := slices.IndexFunc(c.Files, func(f buildfiles.Named) bool { return f.Name == folder })
	if i < 0 {
		t.Fatalf("there is no %s", folder)
	}
	texts = map[string]string{}
	must(t, c.Files[i].List(func(e buildfiles.Entry) error {
		list = append(list, e)
		if !fs.FileMode(e.Mode).IsRegular() || e.Link != "" {
			return nil
		}
		in, err := c.Files[i].Open(e.Name)
		must(t, err)
		defer in.Close()
		b, err := io.ReadAll(in)
		must(t, err)
		texts[e.Name] = string(b)
		return nil
	}))
	return c, list, texts
}

func names(list []buildfiles.Entry) (l []string) {
	for _, e := range list {
		if fs.FileMode(e.Mode).IsDir() {
			e.Name += "/"
		}
		l = append(l, e.Name)
	}
	return l
}

// TestIgnore: what .dockerignore leaves in, for each of its rules.
func TestIgnore(t *testing.T) {
	files := map[string]string{
		"Dockerfile": "FROM scratch", "a.txt": "", "b.md": "", "sub/a.txt": "", "sub/deep/c.txt": "", "sub/deep/d.go": "", "empty/": "", "vendor/x/y.go": "", "vendor/x/LICENSE": "",
	}
	all := []string{"Dockerfile", "a.txt", "b.md", "empty/", "sub/", "sub/a.txt", "sub/deep/", "sub/deep/c.txt", "sub/deep/d.go", "vendor/", "vendor/x/", "vendor/x/LICENSE", "vendor/x/y.go"}
	without := func(gone ...string) (l []string) {
		for _, n := range all {
			if !slices.Contains(gone, n) {
				l = append(l, n)
			}
		}
		return l
	}
	for text, want := range map[string][]string{
		"":                            all,
		"# nothing\n\n":               all,
		"*.md":                        without("b.md"),
		"/a.txt":                      without("a.txt"),
		"**/a.txt":                    without("a.txt", "sub/a.txt"),
		"sub/deep":                    without("sub/deep/", "sub/deep/c.txt", "sub/deep/d.go"),
		"sub/deep/*":                  without("sub/deep/c.txt", "sub/deep/d.go"),
		"sub\n!sub/deep/c.txt":        without("sub/a.txt", "sub/deep/d.go"),
		"vendor\n!**/LICENSE":         without("vendor/x/y.go"),
		"*\n!a.txt":                   {"a.txt"},
		"Dockerfile\n.dockerignore":   without("Dockerfile"),
		"*":                           {},
		"sub\n!sub/deep\nsub/deep/*t": without("sub/a.txt", "sub/deep/c.txt"),
	} {
		root := folderOf(t, files)
		if text != "" {
			must(t, os.WriteFile(filepath.Join(root, ".dockerignore"), []byte(text), 0o644))
		}
		_, list, texts := listed(t, Source{Context: root}, "context")
		if texts[".dockerignore"] != text && !strings.HasPrefix(text, "*") && !strings.Contains(text, ".dockerignore") {
			t.Errorf("%q: .dockerignore is not among the files", text)
		}
		got := slices.DeleteFunc(names(list), func(n string) bool { return n == ".dockerignore" })
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %v\nwant %v", text, got, want)
		}
	}
}

// TestOwnIgnore: a Dockerfile's own ignore file goes before that of the folder, and along
// with it.
func TestOwnIgnore(t *testing.T) {
	root := folderOf(t, map[string]string{"build/Other": "FROM scratch", "build/Other.dockerignore": "a", ".dockerignore": "b", "a": "", "b": ""})
	s := Source{Context: root, Dockerfile: filepath.Join(root, "build/Other")}
	_, list, _ := listed(t, s, "context")
	if want := []string{".dockerignore", "b", "build/", "build/Other", "build/Other.dockerignore"}; !slices.Equal(names(list), want) {
		t.Errorf("%v", names(list))
	}
	c, list, texts := listed(t, s, "dockerfile")
	if want := []string{"Other", "Other.dockerignore"}; !slices.Equal(names(list), want) || c.Dockerfile != "Other" || texts["Other.dockerignore"] != "a" {
		t.Errorf("%v, Dockerfile %s", names(list), c.Dockerfile)
	}
}

// TestForeignDockerfile: one from elsewhere does not come among the files.
func TestForeignDockerfile(t *testing.T) {
	root, other := folderOf(t, map[string]string{"a": "x", "Dockerfile": "no", ".dockerignore": "Dockerfile"}), folderOf(t, map[string]string{"My": "FROM a"})
	for _, s := range []Source{
		{Context: root, Dockerfile: filepath.Join(other, "My")},
		{Context: root, Dockerfile: "-", In: strings.NewReader("FROM a")},
		{Context: "https://example.com/a.git", Dockerfile: filepath.Join(other, "My")},
		{Context: "https://example.com/a.git", Dockerfile: "-", In: strings.NewReader("FROM a")},
	} {
		c, list, texts := listed(t, s, "dockerfile")
		if len(list) != 1 || texts[c.Dockerfile] != "FROM a" {
			t.Errorf("%s: %v", c.Dockerfile, texts)
		}
		if c.Remote != "" {
			continue
		}
		if _, list, _ := listed(t, Source{Context: root, Dockerfile: filepath.Join(other, "My")}, "context"); !slices.Equal(names(list), []string{".dockerignore", "a"}) {
			t.Errorf("%v", names(list))
		}
	}
}

// TestSameTime: two texts of one size do not have the same time, by which the engine would
// take one for the other; one text has.
func TestSameTime(t *testing.T) {
	at := func(text string) int64 {
		_, list, _ := listed(t, Source{Context: "-", In: strings.NewReader(text)}, "dockerfile")
		return list[0].Time
	}
	if a, b, again := at("FROM a"), at("FROM b"), at("FROM a"); a == b || a != again || a < 0 {
		t.Errorf("%d, %d, %d", a, b, again)
	}
}

// TestNamed: further contexts are folders with ignore files of their own, or URLs.
func TestNamed(t *testing.T) {
	root, other := folderOf(t, map[string]string{"Dockerfile": ""}), folderOf(t, map[string]string{"a": "", "b": "", ".dockerignore": "b"})
	s := Source{Context: root, Named: []Named{{"other", other}, {"base", "docker-image://busybox"}, {"src", "https://example.com/a.git"}}}
	c, list, _ := listed(t, s, "context:other")
	if !slices.Equal(names(list), []string{".dockerignore", "a"}) || c.URLs["base"] != "docker-image://busybox" || c.URLs["src"] != "https://example.com/a.git" {
		t.Errorf("%v, %v", names(list), c.URLs)
	}
	if a, b := c.Files[0].Key, c.Files[2].Key; a == b || !strings.HasSuffix(a, root) {
		t.Errorf("keys %s and %s", a, b)
	}
}

// TestFiles: what an archive keeps of files.
func TestFiles(t *testing.T) {
	root := folderOf(t, map[string]string{"Dockerfile": "", "bin/run": "#!"})
	must(t, os.Link(filepath.Join(root, "bin/run"), filepath.Join(root, "bin/start")))
	must(t, os.Symlink("../nowhere", filepath.Join(root, "bin/link")))
	must(t, syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600))
	must(t, os.Chmod(filepath.Join(root, "bin/run"), 0o4755|os.ModeSetuid))
	must(t, os.Chmod(filepath.Join(root, "bin"), 0o700))
	when := time.Unix(1e9, 123456789)
	must(t, os.Chtimes(filepath.Join(root, "bin/run"), when, when))
	l, err := net.Listen("unix", filepath.Join(root, "socket"))
	must(t, err)
	defer l.Close()
	if err := unix.Mknod(filepath.Join(root, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Skip("devices take root:", err)
	}
	xattrs := unix.Setxattr(filepath.Join(root, "bin/run"), "user.who", []byte("me"), 0) == nil

	_, list, texts := listed(t, Source{Context: root}, "context")
	by := map[string]buildfiles.Entry{}
	for _, e := range list {
		by[e.Name] = e
	}
	mode := func(name string) fs.FileMode { return fs.FileMode(by[name].Mode) }
	switch run, start, link := by["bin/run"], by["bin/start"], by["bin/link"]; {
	case by["socket"].Name != "":
		t.Error("a socket is listed")
	case mode("pipe").Type() != fs.ModeNamedPipe:
		t.Errorf("pipe: %v", mode("pipe"))
	case mode("bin/run") != fs.ModeSetuid|0o755 || run.Time != when.UnixNano() || run.Size != 2 || texts["bin/run"] != "#!":
		t.Errorf("run: %+v, %q", run, texts["bin/run"])
	case start.Link != "bin/run" || start.Size != 0:
		t.Errorf("start: %+v", start)
	case link.Link != "../nowhere" || mode("bin/link").Type() != fs.ModeSymlink:
		t.Errorf("link: %+v", link)
	case mode("bin") != fs.ModeDir|0o700:
		t.Errorf("bin: %v", mode("bin"))
	case mode("null").Type() != fs.ModeDevice|fs.ModeCharDevice || by["null"].Major != 1 || by["null"].Minor != 3:
		t.Errorf("null: %v, %+v", mode("null"), by["null"])
	case xattrs && string(run.Attrs["user.who"]) != "me":
		t.Errorf("attributes: %q", run.Attrs)
	}
}

// TestInput: standard input is an archive, which is sent as it is, or a Dockerfile.
func TestInput(t *testing.T) {
	var archive, python, zipped bytes.Buffer
	w := tar.NewWriter(&archive)
	must(t, w.WriteHeader(&tar.Header{Name: "x", Mode: 0o644, Typeflag: tar.TypeReg}))
	must(t, w.Close())
	w = tar.NewWriter(&python) // which says parts of seconds
	must(t, w.WriteHeader(&tar.Header{Name: "x", Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX, ModTime: time.Unix(1, 5e8)}))
	must(t, w.Close())
	z := gzip.NewWriter(&zipped)
	z.Write(archive.Bytes())
	must(t, z.Close())
	for _, c := range []struct{ in, file, want string }{
		{archive.String(), "", ""},
		{archive.String(), "sub/My", ""},
		{python.String(), "", ""},
		{zipped.String(), "", ""},
		{"FROM scratch\n", "My", "ambiguous Dockerfile source"},
		{"", "", "standard input is empty"},
		{archive.String(), "-", "can't use stdin for both"},
		{strings.Repeat("x", maxDockerfile+1), "", "larger than 2 MiB"},
	} {
		got, err := Open(Source{Context: "-", Dockerfile: c.file, In: strings.NewReader(c.in)})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.10q -f %q: %v, want %s", c.in, c.file, err, c.want)
			}
			continue
		}
		must(t, err)
		if b, err := io.ReadAll(got.Archive); err != nil || string(b) != c.in || got.Dockerfile != c.file {
			t.Errorf("%.10q: %d bytes, Dockerfile %q: %v", c.in, len(b), got.Dockerfile, err)
		}
	}
	s := Source{Context: "-", In: strings.NewReader("FROM scratch")}
	if _, _, texts := listed(t, s, "dockerfile"); texts["Dockerfile"] != "FROM scratch" {
		t.Errorf("%v", texts)
	}
	if _, list, _ := listed(t, Source{Context: "-", In: strings.NewReader("FROM scratch")}, "context"); len(list) > 0 {
		t.Errorf("%v", list)
	}
	_, err := Open(Source{Context: "-", In: &archive, Named: []Named{{"a", t.TempDir()}}})
	if err == nil || !strings.Contains(err.Error(), "URLs only") {
		t.Error(err)
	}
}

func TestRemote(t *testing.T) {
	for context, want := range map[string]bool{
		"https://example.com/a.git#main:sub": true, "http://example.com/a.tar.gz": true, "git://example.com/a": true,
		"git@example.com:a/b.git": true, "ssh://git@example.com/a": true, "github.com/a/b": true, "me@host:repo": true,
		"./a": false, "a": false, "/a@b:c": false, "a:b": false,
	} {
		if got := IsRemote(context); got != want {
			t.Errorf("%s: %v", context, got)
		}
	}
	c, err := Open(Source{Context: "https://example.com/a.git#main", Dockerfile: "sub/My"})
	if err != nil || c.Remote != "https://example.com/a.git#main" || c.Dockerfile != "sub/My" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestErrors: each says in one line what is wrong.
func TestErrors(t *testing.T) {
	root := folderOf(t, map[string]string{"a": "", "bad/.dockerignore": "[", "bad/Dockerfile": ""})
	for _, c := range []struct {
		s    Source
		want string
	}{
		{Source{Context: filepath.Join(root, "none")}, "not found"},
		{Source{Context: filepath.Join(root, "a")}, "it is no folder"},
		{Source{Context: root}, "there is no Dockerfile in"},
		{Source{Context: root, Dockerfile: filepath.Join(root, "none")}, "cannot read the Dockerfile"},
		{Source{Context: filepath.Join(root, "bad")}, "syntax error in pattern"},
		{Source{Context: root, Dockerfile: filepath.Join(root, "a"), Named: []Named{{"x", "oci-layout://x"}}}, "not built yet"},
		{Source{Context: root, Dockerfile: filepath.Join(root, "a"), Named: []Named{{"x", filepath.Join(root, "a")}}}, "is no folder"},
		{Source{Context: root, Dockerfile: filepath.Join(root, "a"), Named: []Named{{"x", filepath.Join(root, "none")}}}, "cannot use the build context x"},
	} {
		if _, err := Open(c.s); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %s", c.s, err, c.want)
		}
	}
}

// TestUnreadable: the file is named, and what to do.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		err := unreadable(&os.PathError{Op: "open", Path: "/a/b", Err: syscall.EACCES})
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "/a/b") || !strings.Contains(err.Error(), ".dockerignore") {
			t.Error(err)
		}
		return // root reads everything
	}
	root := folderOf(t, map[string]string{"Dockerfile": "", "secret": "x"})
	must(t, os.Chmod(filepath.Join(root, "secret"), 0))
	c, err := Open(Source{Context: root})
	must(t, err)
	if _, err := c.Files[0].Open("secret"); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
