package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// TestToFile writes beside what others have there, a link that is named as its part may be
// among it.
func TestToFile(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "image.tar"), filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("other", name+".part"); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken off")
	for _, tc := range []struct {
		in   io.Reader
		want error
	}{{strings.NewReader("content"), nil}, {iotest.ErrReader(broken), broken}} {
		err := new(app).toFile(name, func() (io.ReadCloser, error) { return io.NopCloser(tc.in), nil })
		if !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
		got, _ := os.ReadFile(name)
		fi, err := os.Lstat(name)
		if err != nil || string(got) != "content" || fi.Mode() != 0o600 {
			t.Errorf("%q, %v, %v", got, fi, err)
		}
	}
	if b, err := os.ReadFile(other); string(b) != "untouched" {
		t.Errorf("another file: %q, %v", b, err)
	}
	if es, err := os.ReadDir(dir); len(es) != 3 {
		t.Errorf("left: %v, %v", es, err)
	}
}
