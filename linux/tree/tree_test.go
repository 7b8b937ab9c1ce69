package tree

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCopySparse: a copy has the same bytes and no more blocks, wherever the holes are.
func TestCopySparse(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	const block = 64 << 10
	for name, data := range map[string][]int64{"empty": nil, "hole": {}, "begin": {0}, "end": {63}, "middle": {20, 21, 40}} {
		f, err := os.Create(filepath.Join(src, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range data {
			if _, err := f.WriteAt(bytes.Repeat([]byte{byte(at + 1)}, block), at*block); err != nil {
				t.Fatal(err)
			}
		}
		if data != nil {
			if err := f.Truncate(64*block + 7); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	a, b := open(t, src), open(t, dst)
	if err := Copy(b, a, Options{}); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(src)
	if err != nil || len(names) != 5 {
		t.Fatal(names, err)
	}
	for _, n := range names {
		want, _ := os.ReadFile(filepath.Join(src, n.Name()))
		got, err := os.ReadFile(filepath.Join(dst, n.Name()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d, or others: %v", n.Name(), len(got), len(want), err)
		}
		if have, may := blocks(t, dst, n.Name()), blocks(t, src, n.Name()); have > may {
			t.Errorf("%s: %d blocks, the original has %d", n.Name(), have, may)
		}
	}
}

func open(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func blocks(t *testing.T, dir, name string) int64 {
	t.Helper()
	fi, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Blocks
}
