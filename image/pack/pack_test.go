package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/image/extract"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// tree makes a directory with one of everything.
func tree(t *testing.T) *os.File {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	must(os.MkdirAll(in("d/e"), 0o750))
	must(os.WriteFile(in("d/file"), []byte("content"), 0o640))
	must(os.Chown(in("d/file"), 1000, 1001))
	must(unix.Setxattr(in("d/file"), "user.mark", []byte("m"), 0))
	must(os.Link(in("d/file"), in("d/second")))
	must(os.Symlink("/etc/passwd", in("d/link")))
	must(unix.Mkfifo(in("d/pipe"), 0o600))
	must(unix.Mknod(in("d/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(os.Chmod(in("d/null"), 0o666))
	must(unix.Mknod(in("d/gone"), unix.S_IFCHR, 0))
	must(unix.Setxattr(in("d/e"), opaqueXattr, []byte("y"), 0))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(err)
	must(unix.Bind(fd, &unix.SockaddrUnix{Name: in("d/socket")}))
	unix.Close(fd)
	f, err := os.Open(dir)
	must(err)
	t.Cleanup(func() { f.Close() })
	return f
}

// listing shows an archive a member a line.
func listing(t *testing.T, archive []byte) string {
	t.Helper()
	var b strings.Builder
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%c %04o %d:%d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if h.Devmajor > 0 {
			line += fmt.Sprintf(" %d,%d", h.Devmajor, h.Devminor)
		}
		if len(content) > 0 {
			line += fmt.Sprintf(" %q", content)
		}
		if v := h.PAXRecords["SCHILY.xattr.user.mark"]; v != "" {
			line += " user.mark=" + v
		}
		b.WriteString(line + "\n")
	}
}

func TestTree(t *testing.T) {
	rootful.Check(t)
	dir := tree(t)
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"without root", Options{}, `
5 0750 0:0 d/
5 0750 0:0 d/e/
0 0640 1000:1001 d/file "content" user.mark=m
3 0000 0:0 d/gone
2 0777 0:0 d/link -> /etc/passwd
3 0666 0:0 d/null 1,3
6 0600 0:0 d/pipe
1 0640 1000:1001 d/second -> d/file
`},
		{"as a layer", Options{Layer: true}, `
5 0750 0:0 d/
5 0750 0:0 d/e/
0 0644 0:0 d/e/.wh..wh..opq
0 0640 1000:1001 d/file "content" user.mark=m
0 0644 0:0 d/.wh.gone
2 0777 0:0 d/link -> /etc/passwd
3 0666 0:0 d/null 1,3
6 0600 0:0 d/pipe
1 0640 1000:1001 d/second -> d/file
`},
		{"mapped, named", Options{Name: "top", IDs: &idmap.Map{
			UIDs: []idmap.Range{{Inside: 0, Outside: 1000, Size: 10}}, GIDs: []idmap.Range{{Inside: 0, Outside: 1000, Size: 10}},
		}}, `
5 0750 0:0 top/d/
5 0750 0:0 top/d/e/
0 0640 0:1 top/d/file "content" user.mark=m
3 0000 0:0 top/d/gone
2 0777 0:0 top/d/link -> /etc/passwd
3 0666 0:0 top/d/null 1,3
6 0600 0:0 top/d/pipe
1 0640 0:1 top/d/second -> top/d/file
`},
	} {
		var b bytes.Buffer
		dir.Seek(0, io.SeekStart)
		if err := Tree(t.Context(), &b, dir, tc.o); err != nil {
			t.Fatal(err)
		}
		got := listing(t, b.Bytes())
		if rest, ok := strings.CutPrefix(got, "5 0755 0:0 top/\n"); ok {
			got = rest
		}
		if got != tc.want[1:] {
			t.Errorf("%s:\n%s\nwant:%s", tc.name, got, tc.want)
		}
	}
}

// What is packed as a layer is unpacked as the same upper directory.
func TestLayerThereAndBack(t *testing.T) {
	rootful.Check(t)
	pack := func(dir *os.File) []byte {
		var b bytes.Buffer
		dir.Seek(0, io.SeekStart)
		if err := Tree(t.Context(), &b, dir, Options{Layer: true}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := pack(tree(t))
	root, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := extract.Layer(t.Context(), root, bytes.NewReader(first), extract.Limits{}); err != nil {
		t.Fatal(err)
	}
	if second := pack(root); !bytes.Equal(first, second) {
		t.Errorf("packed:\n%s\nand again:\n%s", listing(t, first), listing(t, second))
	}
}

func TestLayerRefusesNamesOfWhiteouts(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, ".wh.passwd"), nil, 0o644)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Tree(t.Context(), io.Discard, f, Options{Layer: true}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), ".wh.passwd") {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	rootful.Check(t)
	dir := tree(t)
	d, err := os.Open(filepath.Join(dir.Name(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for base, want := range map[string]string{
		"file": "0 0640 1000:1001 new \"content\" user.mark=m\n",
		"link": "2 0777 0:0 new -> /etc/passwd\n",
		"e":    "5 0750 0:0 new/\n",
		"none": "",
	} {
		var b bytes.Buffer
		if err := File(t.Context(), &b, d, base, Options{Name: "new"}); err != nil {
			t.Fatal(err)
		}
		if got := listing(t, b.Bytes()); got != want {
			t.Errorf("%s: %q, want %q", base, got, want)
		}
	}
}

// A file that changes its size under the packer's hands does not break the archive.
func TestChangingSize(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "f")
	os.WriteFile(p, bytes.Repeat([]byte("x"), 1<<20), 0o644)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	w := writerFunc(func(q []byte) (int, error) {
		if b.Len() == 0 {
			os.Truncate(p, 300<<10)
		}
		return b.Write(q)
	})
	if err := Tree(t.Context(), w, f, Options{}); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&b)
	if h, err := r.Next(); err != nil || h.Size != 1<<20 {
		t.Fatal(h, err)
	}
	if n, err := io.Copy(io.Discard, r); n != 1<<20 || err != nil {
		t.Error(n, err)
	}
}

// Whoever takes the archive may fail; then that is what is said.
func TestWriterFails(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "f"), bytes.Repeat([]byte("x"), 1<<20), 0o644)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	broken := errors.New("broken")
	err = Tree(t.Context(), writerFunc(func([]byte) (int, error) { return 0, broken }), f, Options{})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
