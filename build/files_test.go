package build

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"hoy/lib/buildfiles"
)

// diskFolder is a folder of this machine, as a client tells of one.
type diskFolder string

func (d diskFolder) List(tell func(buildfiles.Entry) error) error {
	return filepath.WalkDir(string(d), func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == string(d) {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		entry := buildfiles.Entry{Name: strings.TrimPrefix(path, string(d)+"/"), Mode: uint32(fi.Mode()), Time: fi.ModTime().UnixNano()}
		if !fi.IsDir() {
			entry.Size = fi.Size()
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			if entry.Link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		return tell(entry)
	})
}

func (d diskFolder) Open(name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(d), name))
}

// fetched are the files of folders, of which fetches counts those that were asked for.
func fetched(t *testing.T, fetches map[string]int, folders ...buildfiles.Named) (f *buildfiles.Files, end func()) {
	t.Helper()
	r, w := io.Pipe()
	s := buildfiles.NewSender()
	sent := make(chan error, 1)
	go func() {
		err := s.Send(w, folders)
		w.CloseWithError(err)
		sent <- err
	}()
	f, err := buildfiles.Receive(r, func(wants []buildfiles.Want) error {
		for _, w := range wants {
			if fetches != nil {
				fetches[w.Folder+"/"+w.Name]++
			}
		}
		s.Want(wants)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, func() {
		s.End()
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

// diskOf makes files of name and text.
func diskOf(t *testing.T, files map[string]string) diskFolder {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return diskFolder(dir)
}

// TestFolderIsOne: a client's folder is walked as one of this machine is.
func TestFolderIsOne(t *testing.T) {
	dir := diskOf(t, map[string]string{"a": "1", "b/c": "2", "b/d/e": "3", "b-e": "4", "b.f": "5", "z/y": "6"})
	if err := os.Symlink("b/c", filepath.Join(string(dir), "link")); err != nil {
		t.Fatal(err)
	}
	f, end := fetched(t, nil, buildfiles.Named{Name: "context", Folder: dir})
	defer end()
	dirs, _ := offered(f)
	near, err := fsutil.NewFS(string(dir))
	if err != nil {
		t.Fatal(err)
	}
	walk := func(f fsutil.FS, target, skip string) (l []string) {
		err := f.Walk(t.Context(), target, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				l = append(l, path+": not there")
				if !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				return nil
			}
			fi, err := e.Info()
			if err != nil {
				t.Error(err)
				return err
			}
			s := fi.Sys().(*types.Stat)
			l = append(l, strings.Join([]string{path, s.Path, s.Linkname, fs.FileMode(s.Mode).String()}, " "))
			if path == skip {
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return l
	}
	for _, target := range []string{"/", "", "b", "/b/d", "a", "link", "none"} {
		for _, skip := range []string{"", "a", "b", "b/d", "b/d/e", "b-e", "z/y"} {
			if got, want := walk(dirs["context"], target, skip), walk(near, target, skip); !slices.Equal(got, want) {
				t.Errorf("%s, without %s:\n got %q\nwant %q", target, skip, got, want)
			}
		}
	}
	paths := []string{"link", "b/*", "none"}
	got, err := fsutil.FollowLinks(dirs["context"], paths)
	want, wantErr := fsutil.FollowLinks(near, paths)
	if !slices.Equal(got, want) || err != nil || wantErr != nil {
		t.Errorf("%q, %v; want %q, %v", got, err, want, wantErr)
	}
}

// TestFetchesChanges: of a folder that was built from before only what changed is fetched;
// what no step needs never is; and a Dockerfile of elsewhere is not among the files.
func TestFetchesChanges(t *testing.T) {
	h := newBench(t)
	dir := diskOf(t, map[string]string{"src/a": "1", "src/b": "2", "unused": "x", ".dockerignore": "Dockerfile"})
	build := func(dockerfile string) map[string]int {
		t.Helper()
		fetches := map[string]int{}
		f, end := fetched(t, fetches, buildfiles.Named{Name: "context", Key: "me:" + string(dir), Folder: dir},
			buildfiles.Named{Name: "dockerfile", Folder: diskOf(t, map[string]string{"My": dockerfile})}, buildfiles.Named{Name: "context:other", Folder: diskOf(t, map[string]string{"o": "other"})})
		defer end()
		if _, err := h.b.Build(t.Context(), Request{Files: f, Dockerfile: "My"}); err != nil {
			t.Fatal(err)
		}
		return fetches
	}
	const text = "FROM scratch\nCOPY src /src\nCOPY --from=other o /o\n"
	first := build(text)
	if first["context/src/a"] != 1 || first["context/src/b"] != 1 || first["context/unused"] != 0 || first["context:other/o"] != 1 || first["dockerfile/My"] != 1 {
		t.Errorf("the first build fetches %v", first)
	}
	if err := os.WriteFile(filepath.Join(string(dir), "src/a"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := build(text); again["context/src/a"] != 1 || again["context/src/b"] != 0 {
		t.Errorf("the second build fetches %v", again)
	}
}
