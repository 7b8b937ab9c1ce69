package extract

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/test/rootful"
)

// unpackInto unpacks an archive into dir of a root with some contents, beside which
// lies a file that must stay as it is.
func unpackInto(t testing.TB, a []byte, o IntoOptions) (root string, err error) {
	t.Helper()
	top := t.TempDir()
	root = filepath.Join(top, "root")
	for _, d := range []string{"work/dir/kept", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"work/file": "old", "work/dir/file": "old", "etc/passwd": "inside", "../secret": "untouched"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"work/abs": "/etc", "work/out": "../../..", "work/dangling": "/new/place"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = Into(t.Context(), f, bytes.NewReader(a), o)
	if b, e := os.ReadFile(filepath.Join(top, "secret")); e != nil || string(b) != "untouched" {
		t.Errorf("outside of the root: %q, %v", b, e)
	}
	if es, e := os.ReadDir(top); e != nil || len(es) != 2 {
		t.Errorf("outside of the root: %v, %v", es, e)
	}
	return root, err
}

func TestInto(t *testing.T) {
	rootful.Check(t)
	work := IntoOptions{Dir: "/work"}
	keep := IntoOptions{Dir: "/work/", KeepKinds: true}
	for _, tc := range []struct {
		name    string
		o       IntoOptions
		archive []byte
		says    string
		want    map[string]string // content by path; "/" a directory, "" nothing
	}{
		{"a file replaces a file", work, archive(t, reg("file", "new")), "", map[string]string{"work/file": "new"}},
		{"directories are merged", work, archive(t, directory("dir", 0o700), reg("dir/more", "m")), "", map[string]string{"work/dir/kept": "/", "work/dir/file": "old", "work/dir/more": "m"}},
		{"a file replaces a directory", work, archive(t, reg("dir", "new")), "", map[string]string{"work/dir": "new"}},
		{"not when kinds are kept", keep, archive(t, reg("dir", "new")), "cannot overwrite directory", map[string]string{"work/dir/file": "old"}},
		{"nor the other way round", keep, archive(t, directory("file", 0o755)), "cannot overwrite non-directory", map[string]string{"work/file": "old"}},
		{"nor by a link", keep, archive(t, link(tar.TypeSymlink, "dir", "file")), "cannot overwrite directory", map[string]string{"work/dir/file": "old"}},
		{"whiteouts are files", work, archive(t, reg(".wh.file", "w")), "", map[string]string{"work/file": "old", "work/.wh.file": "w"}},
		{"the directory itself stays", work, archive(t, directory("./", 0o700), reg("./x", "x")), "", map[string]string{"work/x": "x"}},
		{"missing directories", work, archive(t, reg("p/q/r", "r")), "", map[string]string{"work/p/q/r": "r"}},
		{"through an absolute link", work, archive(t, reg("abs/passwd", "new")), "", map[string]string{"etc/passwd": "new"}},
		{"through a link that climbs", work, archive(t, reg("out/etc/passwd", "new")), "", map[string]string{"etc/passwd": "new"}},
		{"through a dangling link", work, archive(t, reg("dangling/x", "x")), "", map[string]string{"new/place/x": "x"}},
		{"a link is replaced, not followed", work, archive(t, reg("abs", "x")), "", map[string]string{"work/abs": "x", "etc/passwd": "inside"}},
		{"hard link", work, archive(t, reg("a", "a"), link(tar.TypeLink, "b", "a")), "", map[string]string{"work/b": "a"}},
		{"hard link out", work, archive(t, link(tar.TypeLink, "b", "../../secret")), "leads out", map[string]string{"work/b": ""}},
		{"climbing", work, archive(t, reg("../etc/passwd", "x")), "leads out", map[string]string{"etc/passwd": "inside"}},
		{"devices", work, archive(t, member{h: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}}), "", map[string]string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root, err := unpackInto(t, tc.archive, tc.o)
			if (err == nil) != (tc.says == "") || err != nil && (!strings.Contains(err.Error(), tc.says) || !fault.Is(err, fault.Invalid)) {
				t.Fatalf("says %v, want %q", err, tc.says)
			}
			for name, want := range tc.want {
				fi, err := os.Lstat(filepath.Join(root, name))
				b, _ := os.ReadFile(filepath.Join(root, name))
				switch {
				case want == "" && !os.IsNotExist(err), want == "/" && (err != nil || !fi.IsDir()):
					t.Errorf("%s: %v, %v", name, fi, err)
				case want != "" && want != "/" && string(b) != want:
					t.Errorf("%s holds %q, want %q", name, b, want)
				}
			}
		})
	}
}

func TestIntoOwners(t *testing.T) {
	rootful.Check(t)
	ids := &idmap.Map{UIDs: []idmap.Range{{Inside: 0, Outside: 100000, Size: 1000}}, GIDs: []idmap.Range{{Inside: 0, Outside: 200000, Size: 1000}}}
	owned := member{h: tar.Header{Typeflag: tar.TypeReg, Name: "p/f", Mode: 0o4755, Uid: 7, Gid: 8}}
	for _, tc := range []struct {
		o                  IntoOptions
		file, parent, says string
	}{
		{IntoOptions{}, "7:8", "0:0", ""},
		{IntoOptions{IDs: ids}, "100007:200008", "100000:200000", ""},
		{IntoOptions{Owner: &Owner{3, 4}}, "3:4", "3:4", ""},
		{IntoOptions{Owner: &Owner{3, 4}, IDs: ids}, "100003:200004", "100003:200004", ""},
		{IntoOptions{Owner: &Owner{3000, 4}, IDs: ids}, "", "", "owner 3000:4 does not exist"},
	} {
		root, err := unpackInto(t, archive(t, owned), tc.o)
		if err != nil {
			if tc.says == "" || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%+v: %v", tc.o, err)
			}
			continue
		}
		for name, want := range map[string]string{"p/f": tc.file, "p": tc.parent} {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%d:%d", st.Uid, st.Gid); got != want {
				t.Errorf("%+v: %s belongs to %s, want %s", tc.o, name, got, want)
			}
		}
	}
}

// Somebody inside swaps directories for links that lead out, as fast as possible,
// while archives are unpacked through them (CVE-2018-15664). The file outside stays.
func TestIntoRace(t *testing.T) {
	rootful.Check(t)
	top := t.TempDir()
	root := filepath.Join(top, "root")
	for _, d := range []string{"root/work/dir", "root/work/other", "victim"} {
		if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(strings.Repeat("../", 10)+filepath.Join(top, "victim")[1:], filepath.Join(root, "work/link")); err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(root, "work/dir"), filepath.Join(root, "work/link")
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	evil := archive(t, directory("dir", 0o777), reg("dir/x", "x"), reg("dir/sub/y", "y"), link(tar.TypeSymlink, "dir/l", "/"), member{h: tar.Header{Typeflag: tar.TypeFifo, Name: "dir/p", Mode: 0o777}})
	worked := 0
	for range 3000 {
		if Into(t.Context(), f, bytes.NewReader(evil), IntoOptions{Dir: "work"}) == nil {
			worked++
		}
	}
	close(stop)
	swapper.Wait()
	if es, err := os.ReadDir(filepath.Join(top, "victim")); err != nil || len(es) > 0 {
		t.Errorf("written outside of the root: %v, %v", es, err)
	}
	if fi, err := os.Stat(filepath.Join(top, "victim")); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("mode changed outside of the root: %v, %v", fi, err)
	}
	if worked == 0 {
		t.Error("nothing was ever unpacked: the test shows nothing")
	}
}

// FuzzInto unpacks any archive into a root with links that lead out.
func FuzzInto(f *testing.F) {
	rootful.Need(f)
	f.Add(archive(f, reg("a", "b"), directory("d", 0o755), link(tar.TypeSymlink, "s", "../x"), link(tar.TypeLink, "d/h", "a")), true)
	f.Add(archive(f, reg("out/secret", "b"), reg("abs/x", "x"), reg("dangling/y", "y")), false)
	f.Fuzz(func(t *testing.T, b []byte, keep bool) {
		unpackInto(t, b, IntoOptions{Dir: "work", KeepKinds: keep})
	})
}
