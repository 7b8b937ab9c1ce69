package engine

import (
	"archive/tar"
	"bytes"
	"os"
	"testing"

	"hoy/test/busybox"
)

// Busybox returns a root file system tar around the static busybox of Debian.
func Busybox(t testing.TB) []byte {
	t.Helper()
	b, err := busybox.Tar()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ImportBusybox gives the engine the image "busybox".
func (e *Engine) ImportBusybox() {
	e.t.Helper()
	if r := e.TryIn(bytes.NewReader(Busybox(e.t)), "import", "-", "busybox"); r.Code != 0 {
		e.t.Fatalf("hoy import: %s", r.Stderr)
	}
}

// tarOf returns a tar of executable files.
func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeFile(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
