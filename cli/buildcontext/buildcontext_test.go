//go:build unix

package buildcontext

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// folder makes files of name and text; a name that ends with / is a folder.
func folder(t *testing.T, files map[string]string) string {
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

// packed is what a context's archive holds: headers in order, and texts by name.
func packed(t *testing.T, s Source) (c *Context, list []*tar.Header, texts map[string]string) {
	t.Helper()
	c, err := Open(s)
	must(t, err)
	body := c.Archive()
	defer body.Close()
	texts = map[string]string{}
	for r := tar.NewReader(body); ; {
		h, err := r.Next()
		if err == io.EOF {
			return c, list, texts
		}
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, err)
		list = append(list, h)
		texts[h.Name] = string(b)
	}
}

func names(list []*tar.Header) (l []string) {
	for _, h := range list {
		l = append(l, h.Name)
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
		"*\n!a.txt":                   {"Dockerfile", "a.txt"},
		"Dockerfile\n.dockerignore":   all,
		"*":                           {"Dockerfile"},
		"sub\n!sub/deep\nsub/deep/*t": without("sub/a.txt", "sub/deep/c.txt"),
	} {
		root := folder(t, files)
		if text != "" {
			must(t, os.WriteFile(filepath.Join(root, ".dockerignore"), []byte(text), 0o644))
		}
		_, list, _ := packed(t, Source{Context: root})
		got := slices.DeleteFunc(names(list), func(n string) bool { return n == ".dockerignore" })
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %v\nwant %v", text, got, want)
		}
	}
}

// TestOwnIgnore: a Dockerfile's own ignore file goes before that of the folder.
func TestOwnIgnore(t *testing.T) {
	root := folder(t, map[string]string{"build/Other": "FROM scratch", "build/Other.dockerignore": "a", ".dockerignore": "b", "a": "", "b": ""})
	c, list, _ := packed(t, Source{Context: root, Dockerfile: filepath.Join(root, "build/Other")})
	if want := []string{".dockerignore", "b", "build/", "build/Other", "build/Other.dockerignore"}; !slices.Equal(names(list), want) || c.Dockerfile != "build/Other" {
		t.Errorf("%v, Dockerfile %s", names(list), c.Dockerfile)
	}
}

// TestForeignDockerfile: one from elsewhere goes along under a name of its text.
func TestForeignDockerfile(t *testing.T) {
	root, other := folder(t, map[string]string{"a": "x", "Dockerfile": "no", ".dockerignore": "Dockerfile"}), folder(t, map[string]string{"My": "FROM a"})
	for _, s := range []Source{
		{Context: root, Dockerfile: filepath.Join(other, "My")},
		{Context: root, Dockerfile: "-", In: strings.NewReader("FROM a")},
	} {
		c, list, texts := packed(t, s)
		if !strings.HasPrefix(c.Dockerfile, ".dockerfile.") || texts[c.Dockerfile] != "FROM a" {
			t.Errorf("%s holds %q", c.Dockerfile, texts[c.Dockerfile])
		}
		if want := []string{".dockerignore", "a", c.Dockerfile}; !slices.Equal(names(list), want) {
			t.Errorf("%v, want %v", names(list), want)
		}
	}
}

// TestFiles: what an archive keeps of files.
func TestFiles(t *testing.T) {
	root := folder(t, map[string]string{"Dockerfile": "", "bin/run": "#!"})
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
	long := strings.Repeat("long/", 60) + "name"
	must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, long)), 0o755))
	must(t, os.WriteFile(filepath.Join(root, long), []byte("far"), 0o644))

	_, list, texts := packed(t, Source{Context: root})
	by := map[string]*tar.Header{}
	for _, h := range list {
		by[h.Name] = h
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s belongs to %d:%d %s:%s", h.Name, h.Uid, h.Gid, h.Uname, h.Gname)
		}
	}
	run, start, link := by["bin/run"], by["bin/start"], by["bin/link"]
	switch {
	case by["socket"] != nil:
		t.Error("a socket is packed")
	case by["pipe"] == nil || by["pipe"].Typeflag != tar.TypeFifo:
		t.Errorf("pipe: %+v", by["pipe"])
	case run == nil || run.Mode != 0o4755 || !run.ModTime.Equal(time.Unix(1e9, 0)) || texts["bin/run"] != "#!":
		t.Errorf("run: %+v, %q", run, texts["bin/run"])
	case start == nil || start.Typeflag != tar.TypeLink || start.Linkname != "bin/run":
		t.Errorf("start: %+v", start)
	case link == nil || link.Typeflag != tar.TypeSymlink || link.Linkname != "../nowhere":
		t.Errorf("link: %+v", link)
	case by["bin/"].Mode&0o777 != 0o700:
		t.Errorf("bin: %o", by["bin/"].Mode)
	case texts[long] != "far":
		t.Errorf("a long name: %q", texts[long])
	}
}

// TestSame: an archive is the same as long as the files are.
func TestSame(t *testing.T) {
	root := folder(t, map[string]string{"Dockerfile": "FROM scratch", "a/b": "c", "z": "y"})
	read := func() []byte {
		c, err := Open(Source{Context: root})
		must(t, err)
		b, err := io.ReadAll(c.Archive())
		must(t, err)
		return b
	}
	if !bytes.Equal(read(), read()) {
		t.Error("two archives of the same files differ")
	}
}

func TestCompress(t *testing.T) {
	c, err := Open(Source{Context: folder(t, map[string]string{"Dockerfile": "FROM scratch"}), Compress: true})
	must(t, err)
	z, err := gzip.NewReader(c.Archive())
	must(t, err)
	h, err := tar.NewReader(z).Next()
	if err != nil || h.Name != "Dockerfile" {
		t.Errorf("%v, %v", h, err)
	}
}

// TestInput: standard input is an archive or a Dockerfile, and sent as it is.
func TestInput(t *testing.T) {
	var archive, zipped bytes.Buffer
	w := tar.NewWriter(&archive)
	must(t, w.WriteHeader(&tar.Header{Name: "x", Mode: 0o644, Typeflag: tar.TypeReg}))
	must(t, w.Close())
	z := gzip.NewWriter(&zipped)
	z.Write(archive.Bytes())
	must(t, z.Close())
	for _, c := range []struct{ in, file, want string }{
		{archive.String(), "", ""},
		{archive.String(), "sub/My", ""},
		{zipped.String(), "", ""},
		{"FROM scratch\n", "", ""},
		{"FROM scratch\n", "My", "ambiguous Dockerfile source"},
		{"", "", "standard input is empty"},
		{archive.String(), "-", "can't use stdin for both"},
	} {
		got, err := Open(Source{Context: "-", Dockerfile: c.file, In: strings.NewReader(c.in)})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.10q -f %q: %v, want %s", c.in, c.file, err, c.want)
			}
			continue
		}
		must(t, err)
		if b, err := io.ReadAll(got.Archive()); err != nil || string(b) != c.in || got.Dockerfile != c.file {
			t.Errorf("%.10q: %d bytes, Dockerfile %q: %v", c.in, len(b), got.Dockerfile, err)
		}
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
	root := folder(t, map[string]string{"a": "", "bad/.dockerignore": "[", "bad/Dockerfile": ""})
	for _, c := range []struct {
		s    Source
		want string
	}{
		{Source{Context: filepath.Join(root, "none")}, "not found"},
		{Source{Context: filepath.Join(root, "a")}, "it is no folder"},
		{Source{Context: root}, "there is no Dockerfile in"},
		{Source{Context: root, Dockerfile: filepath.Join(root, "none")}, "cannot find the Dockerfile"},
		{Source{Context: filepath.Join(root, "bad")}, "syntax error in pattern"},
		{Source{Context: "https://example.com/a.git", Dockerfile: "-"}, "it is a path in there"},
	} {
		if _, err := Open(c.s); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %s", c.s, err, c.want)
		}
	}
}

// TestShrinking: half a file must not be taken for a whole one.
func TestShrinking(t *testing.T) {
	root := folder(t, map[string]string{"Dockerfile": "", "big": strings.Repeat("x", 1000)})
	tr := &tree{root: root}
	var err error
	walkErr := tr.walk(func(f file) error {
		if f.name == "big" {
			must(t, os.Truncate(f.path, 10))
			p := packer{out: tar.NewWriter(io.Discard), links: map[inode]string{}, buf: make([]byte, 100)}
			err = p.add(f)
		}
		return nil
	})
	if walkErr != nil || err == nil || !strings.Contains(err.Error(), "became shorter") {
		t.Errorf("%v, %v", walkErr, err)
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
	root := folder(t, map[string]string{"Dockerfile": "", "secret": "x"})
	must(t, os.Chmod(filepath.Join(root, "secret"), 0))
	c, err := Open(Source{Context: root})
	must(t, err)
	if _, err := io.Copy(io.Discard, c.Archive()); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
