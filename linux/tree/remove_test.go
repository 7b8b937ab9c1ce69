package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// nest makes directories within each other, with a file in each.
func nest(t *testing.T, dir string, levels int) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range levels {
		file, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err == nil {
			unix.Close(file)
			err = unix.Mkdirat(at, "d", 0o700)
		}
		next := -1
		if err == nil {
			next, err = unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		unix.Close(at)
		if err != nil {
			t.Fatal(err)
		}
		at = next
	}
	unix.Close(at)
}

// TestRemoveDeep removes what is nested deeper than this process may have descriptors,
// beside a name that the remover itself would give.
func TestRemoveDeep(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 256, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	dir := filepath.Join(t.TempDir(), "deep")
	nest(t, dir, 1000)
	if err := os.MkdirAll(filepath.Join(dir, ".deep-1", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.MkdirAll(filepath.Join(target, "kept"), 0o700); err != nil {
		t.Fatal(err)
	}
	wide := filepath.Join(dir, "wide")
	if err := os.Mkdir(wide, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if err := os.Symlink("../target", filepath.Join(wide, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("target", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wide", "link", "missing", "missing/too"} {
		if err := Remove(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 1 {
		t.Errorf("%v, %v", es, err)
	}
	if _, err := os.Lstat(filepath.Join(target, "kept")); err != nil {
		t.Error("a link was followed:", err)
	}
}

// TestCopyDeep refuses what is nested so deep that each level's descriptors were too many.
func TestCopyDeep(t *testing.T) {
	src, dst := filepath.Join(t.TempDir(), "src"), t.TempDir()
	nest(t, src, maxDepth+10)
	defer Remove(src)
	defer Remove(filepath.Join(dst, "d"))
	if err := Copy(open(t, dst), open(t, src), Options{}); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("%.200v", err)
	}
}
