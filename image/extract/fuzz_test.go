package extract

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

// FuzzLayer unpacks any bytes, whatever compression they claim: nothing outside of
// the root changes, and a failure is one.
func FuzzLayer(f *testing.F) {
	rootful.Need(f)
	f.Add(archive(f, reg("a", "b"), directory("d", 0o755), link(tar.TypeSymlink, "s", "../x"), link(tar.TypeLink, "d/h", "a")))
	f.Add(archive(f, reg(".wh.a", ""), reg("d/.wh..wh..opq", ""), link(tar.TypeSymlink, "up", ".."), reg("up/secret", "")))
	f.Add(archive(f, directory(".wh.d", 0o700), reg("d/.wh.", ""), reg("d/.wh..", ""), link(tar.TypeSymlink, "d/.wh..wh..opq", "/"), reg("D/f", "x"), reg("d/F", "y")))
	f.Add(archive(f, reg("x", "1"), directory("x", 0o4755), link(tar.TypeSymlink, "x", "."), reg("x/x", "2"), link(tar.TypeLink, "x", "x/x")))
	f.Add(archive(f, withAttribute("trusted.overlay.redirect", 3), member{tar.Header{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1, Mode: 0o6777, Uid: 1 << 20}, ""}, reg("n/..//n", "")))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00"))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Add([]byte("BZh9"))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, _, err := Decompress(bytes.NewReader(b))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind of %v", err)
			}
			return
		}
		defer plain.Close()
		all, err := io.ReadAll(io.LimitReader(plain, 1<<20))
		if err != nil {
			return
		}
		root, _, _ := unpack(t, all, Limits{Bytes: 1 << 20, Entries: 1000})
		if _, err := os.Lstat(filepath.Join(root, "..", "root")); err != nil {
			t.Error(err)
		}
	})
}
