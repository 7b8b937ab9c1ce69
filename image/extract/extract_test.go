package extract

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

type member struct {
	h    tar.Header
	body string
}

func reg(name, body string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}
func directory(name string, mode int64) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}, ""}
}
func link(kind byte, name, to string) member {
	return member{tar.Header{Name: name, Typeflag: kind, Linkname: to, Mode: 0o777}, ""}
}

func archive(t testing.TB, ms ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range ms {
		m.h.Size = int64(len(m.body))
		if err := w.WriteHeader(&m.h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, m.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack unpacks into root, which lies in a directory whose other content must not
// change.
func unpack(t testing.TB, b []byte, l Limits) (root string, res Result, err error) {
	t.Helper()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	root = filepath.Join(outside, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	res, err = Layer(context.Background(), f, bytes.NewReader(b), l)
	s, rerr := os.ReadFile(filepath.Join(outside, "secret"))
	es, _ := os.ReadDir(outside)
	if rerr != nil || string(s) != "untouched" || len(es) != 2 {
		t.Errorf("what lies outside of the root has changed: %q, %v, %d entries", s, rerr, len(es))
	}
	return root, res, err
}

func TestLayer(t *testing.T) {
	rootful.Check(t)
	when := time.Unix(1234567890, 123456789)
	b := archive(t,
		directory("./", 0o750), directory("d/", 0o1777), reg("d/f", "content"),
		member{tar.Header{Name: "d/owned", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 1000, Gid: 1001, ModTime: when, Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.user.colour": "blue", "SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}}, "x"},
		link(tar.TypeSymlink, "d/sym", "/f"), link(tar.TypeLink, "d/hard", "d/f"),
		member{tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
		member{tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600}, ""},
		reg("/absolute", "inside"), reg("deep/er/file", "implied"),
		reg("dup", "first"), link(tar.TypeSymlink, "dup", "d"), reg("dup", "last"),
		link(tar.TypeSymlink, "alias", "d"), reg("alias/through", "in d"),
		link(tar.TypeSymlink, "dangling", "/later/on"), reg("dangling/x", "made"),
		reg(strings.Repeat("n", 255), "long"), reg("odd\n\x01\xff name", "odd"),
	)
	root, res, err := unpack(t, b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"d/f": "content", "d/hard": "content", "absolute": "inside", "deep/er/file": "implied", "dup": "last", "d/through": "in d", "later/on/x": "made", "odd\n\x01\xff name": "odd"} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(root, "d/owned"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != 1000 || st.Gid != 1001 || st.Mode != unix.S_IFREG|0o4755 || st.Mtim.Sec != when.Unix() || st.Mtim.Nsec != 123456789 {
		t.Errorf("d/owned: %+v", st)
	}
	v := make([]byte, 64)
	for attr, want := range map[string]bool{"user.colour": true, "security.capability": true, "trusted.overlay.redirect": false} {
		if _, err := unix.Getxattr(filepath.Join(root, "d/owned"), attr, v); (err == nil) != want {
			t.Errorf("attribute %s: %v, want there: %v", attr, err, want)
		}
	}
	for name, want := range map[string]uint32{"": unix.S_IFDIR | 0o750, "d": unix.S_IFDIR | 0o1777, "null": unix.S_IFCHR | 0o666, "pipe": unix.S_IFIFO | 0o600, "d/sym": unix.S_IFLNK | 0o777} {
		if err := syscall.Lstat(filepath.Join(root, name), &st); err != nil || st.Mode != want {
			t.Errorf("%s: mode %o, %v; want %o", name, st.Mode, err, want)
		}
	}
	if want := []string{"deep", "deep/er", "later", "later/on"}; !slices.Equal(res.Implied, want) {
		t.Errorf("implied %q, want %q", res.Implied, want)
	}
}

// A member replaces an earlier one of its name in a directory, whose descriptor is
// remembered.
func TestReplaced(t *testing.T) {
	rootful.Check(t)
	root, _, err := unpack(t, archive(t, directory("d", 0o755), reg("d/f", "one"), reg("d/f", "two"), link(tar.TypeSymlink, "d/f", "three"), reg("d/f", "four")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "d/f")); err != nil || string(b) != "four" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestHostile(t *testing.T) {
	rootful.Check(t)
	sparse := member{tar.Header{Name: "sparse", Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatPAX}, ""}
	for name, tc := range map[string]struct {
		archive []byte
		limits  Limits
		want    string // "" = confined without an error
		kind    fault.Kind
	}{
		"dotdot":                 {archive(t, reg("../secret", "x")), Limits{}, "leads out", fault.Invalid},
		"dotdot inside":          {archive(t, reg("a/../../secret", "x")), Limits{}, "leads out", fault.Invalid},
		"hard link out":          {archive(t, link(tar.TypeLink, "h", "../secret")), Limits{}, "leads out", fault.Invalid},
		"hard link absolute":     {archive(t, link(tar.TypeLink, "h", "/etc/shadow")), Limits{}, "not brought", fault.Invalid},
		"hard link to directory": {archive(t, directory("d", 0o755), link(tar.TypeLink, "h", "d")), Limits{}, "not brought", fault.Invalid},
		"hard link via symlink":  {archive(t, link(tar.TypeSymlink, "up", ".."), link(tar.TypeLink, "h", "up/secret")), Limits{}, "not brought", fault.Invalid},
		"write via symlink":      {archive(t, link(tar.TypeSymlink, "up", "../"), reg("up/secret", "x")), Limits{}, "", 0},
		"write via absolute":     {archive(t, link(tar.TypeSymlink, "e", "/"), reg("e/secret", "x")), Limits{}, "", 0},
		"write onto symlink":     {archive(t, link(tar.TypeSymlink, "s", "../secret"), reg("s", "x")), Limits{}, "", 0},
		"directory on symlink":   {archive(t, link(tar.TypeSymlink, "s", ".."), directory("s", 0o700)), Limits{}, "", 0},
		"write to device":        {archive(t, member{tar.Header{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, ""}, reg("n", "x")), Limits{}, "", 0},
		"root as file":           {archive(t, reg(".", "x")), Limits{}, "root directory", fault.Invalid},
		"file as directory":      {archive(t, reg("f", "x"), reg("f/g", "x")), Limits{}, "not a directory", fault.Invalid},
		"whiteout of nothing":    {archive(t, reg("d/.wh.", "")), Limits{}, "names nothing", fault.Invalid},
		"whiteout of dot":        {archive(t, reg("d/.wh..", "")), Limits{}, "names nothing", fault.Invalid},
		"whiteout via symlink":   {archive(t, link(tar.TypeSymlink, "up", ".."), reg("up/.wh.secret", "")), Limits{}, "", 0},
		"opaque via symlink":     {archive(t, link(tar.TypeSymlink, "up", ".."), reg("up/.wh..wh..opq", "")), Limits{}, "", 0},
		"opaque twice":           {archive(t, reg(".wh..wh..opq", ""), reg("./.wh..wh..opq", ""), reg("d/.wh..wh..opq", ""), reg("d", "x")), Limits{}, "", 0},
		"whiteout as directory":  {archive(t, directory(".wh.d", 0o755), reg(".wh.e/f", "x")), Limits{}, "", 0},
		"whiteout's own device":  {archive(t, member{tar.Header{Name: "w", Typeflag: tar.TypeChar}, ""}, reg("w/f", "x")), Limits{}, "not a directory", fault.Invalid},
		"long name":              {archive(t, reg(strings.Repeat("n", 256), "")), Limits{}, "file name too long", fault.Invalid},
		"long path":              {archive(t, reg(strings.Repeat("d/", 2500)+"f", "")), Limits{}, "file name too long", fault.Invalid},
		"long link":              {archive(t, link(tar.TypeSymlink, "l", strings.Repeat("d/", 2500))), Limits{}, "file name too long", fault.Invalid},
		"large attribute":        {archive(t, withAttribute("user.a", 65<<10)), Limits{}, "more than the file system takes", fault.Invalid},
		"long attribute":         {archive(t, withAttribute("user."+strings.Repeat("a", 300), 1)), Limits{}, "numerical result out of range", fault.Invalid},
		"huge header":            {hugeHeader(), Limits{}, "more than 1 MiB", fault.Invalid},
		"nobody's user":          {archive(t, member{tar.Header{Name: "f", Uid: 1 << 32, Typeflag: tar.TypeReg, Format: tar.FormatGNU}, ""}), Limits{}, "no user can be", fault.Invalid},
		"negative group":         {archive(t, member{tar.Header{Name: "f", Gid: -1, Typeflag: tar.TypeReg, Format: tar.FormatGNU}, ""}), Limits{}, "no user can be", fault.Invalid},
		"whiteout of dotdot":     {archive(t, reg(".wh...", "")), Limits{}, "names nothing", fault.Invalid},
		"symlink loop":           {archive(t, link(tar.TypeSymlink, "a", "b"), link(tar.TypeSymlink, "b", "a"), reg("a/x", "")), Limits{}, "too many levels", fault.Invalid},
		"too many bytes":         {archive(t, reg("a", "12345"), reg("b", "67890")), Limits{Bytes: 9}, "more than 9 bytes", fault.Invalid},
		"too many entries":       {archive(t, reg("a", ""), reg("b", "")), Limits{Entries: 1}, "more than the 1 entries", fault.Invalid},
		"larger than the disk":   {header(t, sparse, 1<<50), Limits{}, "the disk has", fault.Unavailable},
		"no archive":             {bytes.Repeat([]byte("not a tar "), 200), Limits{}, "not a tar archive", fault.Invalid},
		"truncated header":       {archive(t, reg("a", "x"))[:300], Limits{}, "truncated", fault.Invalid},
		"truncated body":         {archive(t, reg("a", strings.Repeat("x", 4000)))[:2048], Limits{}, "truncated", fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := unpack(t, tc.archive, tc.limits)
			if tc.want == "" {
				if err != nil {
					t.Errorf("%v; want it unpacked inside", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != tc.kind {
				t.Errorf("got %v (kind %d), want %q (kind %d)", err, fault.KindOf(err), tc.want, tc.kind)
			}
		})
	}
}

func withAttribute(name string, size int) member {
	return member{tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr." + name: strings.Repeat("v", size)}}, ""}
}

// hugeHeader is the beginning of an archive whose first header has 2 MiB of records.
func hugeHeader() []byte {
	var b bytes.Buffer
	tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "h", Typeflag: tar.TypeReg, Size: 2 << 20})
	h := b.Bytes()
	h[156] = tar.TypeXHeader
	sum := 0
	copy(h[148:156], "        ")
	for _, c := range h[:512] {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return append(h, bytes.Repeat([]byte("20 comment=xxxxxxxxx\n"), 100_000)[:2<<20]...)
}

// TestSparse: a file of 4 GiB that an archive has as a hole and a few bytes takes as
// little on disk, in each of the forms that GNU tar writes.
func TestSparse(t *testing.T) {
	rootful.Check(t)
	src := t.TempDir()
	f, err := os.Create(filepath.Join(src, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 4<<30 + 12345
	f.WriteAt([]byte("begin"), 0)
	f.WriteAt([]byte("middle"), 3<<30)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"--format=gnu", "--format=pax --sparse-version=0.0", "--format=pax --sparse-version=0.1", "--format=pax --sparse-version=1.0"} {
		t.Run(form, func(t *testing.T) {
			out, err := exec.Command("tar", append(strings.Fields(form), "-S", "-c", "-f", "-", "-C", src, "holes")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if len(out) > 1<<20 {
				t.Fatalf("the archive has %d bytes", len(out))
			}
			root, res, err := unpack(t, out, Limits{})
			if fault.Is(err, fault.Unavailable) {
				t.Skipf("the disk has no room for what the archive claims: %v", err)
			}
			if err != nil || res.Bytes != size {
				t.Fatalf("%d bytes, %v", res.Bytes, err)
			}
			var st syscall.Stat_t
			if err := syscall.Stat(filepath.Join(root, "holes"), &st); err != nil || st.Size != size || st.Blocks*512 > 2<<20 {
				t.Errorf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
			}
			got, err := os.Open(filepath.Join(root, "holes"))
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			b := make([]byte, 6)
			if _, err := got.ReadAt(b, 3<<30); err != nil || string(b) != "middle" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	if _, _, err := unpack(t, mustTar(t, src), Limits{Bytes: 1 << 30}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("beyond the limit: %v", err)
	}
}

func mustTar(t *testing.T, dir string) []byte {
	t.Helper()
	out, err := exec.Command("tar", "-S", "-c", "-f", "-", "-C", dir, "holes").Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAdoptOpensNoDevice: a directory that a layer implies may be a device in the layer
// below, whose opening could have effects. Nothing but directories is opened there.
func TestAdoptOpensNoDevice(t *testing.T) {
	rootful.Check(t)
	below := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(below, "a"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, res, err := unpack(t, archive(t, reg("a/f", "x")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, below, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	if err := Adopt(f, res.Implied, []string{below}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Read(watch, make([]byte, 4096)); err != unix.EAGAIN {
		t.Errorf("something was opened: %v", err)
	}
}

// Names that differ by case only are two files here, as in the image.
func TestCase(t *testing.T) {
	rootful.Check(t)
	root, _, err := unpack(t, archive(t, reg("Etc/Passwd", "upper"), reg("etc/passwd", "lower"), reg("ETC/.wh.PASSWD", ""), link(tar.TypeLink, "x", "etc/Passwd")), Limits{})
	if err == nil || !strings.Contains(err.Error(), "not brought") {
		t.Errorf("a hard link by another case: %v", err)
	}
	for name, want := range map[string]string{"Etc/Passwd": "upper", "etc/passwd": "lower"} {
		if b, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// header is an archive that claims a size and has no content.
func header(t *testing.T, m member, size int64) []byte {
	t.Helper()
	m.h.Size = size
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&m.h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhiteouts(t *testing.T) {
	rootful.Check(t)
	root, _, err := unpack(t, archive(t,
		reg(".wh.gone", ""), reg("d/.wh..wh..opq", ""), reg("d/new", "x"), reg("d/.wh..wh.plnk", ""),
		reg(".wh.swapped", ""), directory("swapped", 0o755), reg("kept", "k"), reg(".wh.kept", ""),
	), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(root, "gone"), &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFCHR || st.Rdev != 0 {
		t.Errorf("gone: %+v, %v", st, err)
	}
	for _, d := range []string{"d", "swapped"} {
		v := make([]byte, 4)
		if n, err := unix.Getxattr(filepath.Join(root, d), opaqueXattr, v); err != nil || string(v[:n]) != "y" {
			t.Errorf("%s is not opaque: %v", d, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(root, "kept")); string(b) != "k" {
		t.Errorf("kept: %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "d/.wh..wh.plnk")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("aufs's own file: %v", err)
	}
}

func TestAdopt(t *testing.T) {
	rootful.Check(t)
	below := t.TempDir()
	if err := os.MkdirAll(filepath.Join(below, "a/b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(below, "a/b"), 7, 8); err != nil {
		t.Fatal(err)
	}
	root, res, err := unpack(t, archive(t, reg("a/b/c/f", "x")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Adopt(f, res.Implied, []string{below}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "700 0 0", "a/b": "700 7 8", "a/b/c": "755 0 0"} {
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(root, name), &st); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%o %d %d", st.Mode&0o7777, st.Uid, st.Gid); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// endless is a tar archive of empty files that nobody holds in memory.
type endless struct {
	left int
	buf  bytes.Buffer
}

func (e *endless) Read(p []byte) (int, error) {
	for e.buf.Len() < len(p) && e.left > 0 {
		e.left--
		h := tar.Header{Name: fmt.Sprintf("d%d/f%d", e.left%100, e.left), Typeflag: tar.TypeLink, Linkname: "first"}
		if err := tar.NewWriter(&e.buf).WriteHeader(&h); err != nil {
			return 0, err
		}
	}
	return e.buf.Read(p)
}

// A hundred thousand entries are refused at the limit; what is kept for them is a
// few directories.
func TestManyEntries(t *testing.T) {
	rootful.Check(t)
	root, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	first := archive(t, reg("first", ""))
	src := io.MultiReader(bytes.NewReader(first[:512]), &endless{left: 100_000})
	res, err := Layer(t.Context(), root, src, Limits{Entries: 20_000})
	if err == nil || res.Entries != 20_001 || len(res.Implied) != 100 {
		t.Errorf("%d entries, %d directories, %v", res.Entries, len(res.Implied), err)
	}
}

// TestLayerNestedByLinks makes directories deeper than a path can name: each link leads to
// where the last one's members end.
func TestLayerNestedByLinks(t *testing.T) {
	rootful.Check(t)
	deep := strings.Repeat("/d", 1000)
	members := []member{directory("d0", 0o755)}
	for i := range 5 {
		at := "d" + strconv.Itoa(i)
		members = append(members, reg(at+deep+"/file", ""), link(tar.TypeSymlink, "d"+strconv.Itoa(i+1), at+deep))
	}
	_, _, err := unpack(t, archive(t, members...), Limits{})
	if fault.KindOf(err) != fault.Invalid || !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("%.200v", err)
	}
	if _, _, err := unpack(t, archive(t, members[:3]...), Limits{}); err != nil {
		t.Errorf("without links: %.200v", err)
	}
}
