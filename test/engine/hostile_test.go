package engine

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hoy/test/rootful"
)

// TestHostileImage runs an image that brings device nodes and set-user-ID programs: in
// a container the devices cannot be opened, and on the host nobody but root gets at
// what the image has brought.
func TestHostileImage(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	base := Busybox(t)
	var b bytes.Buffer
	b.Write(base[:len(base)-1024]) // without its end mark
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "memory", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 1},
		{Name: "port", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 4},
		{Name: "disk", Typeflag: tar.TypeBlock, Mode: 0o666, Devmajor: 254},
		{Name: "loop", Typeflag: tar.TypeBlock, Mode: 0o666, Devmajor: 7},
		{Name: "root-shell", Typeflag: tar.TypeReg, Mode: 0o4755},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if r := e.TryIn(&b, "import", "-", "hostile"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	for _, dev := range []string{"memory", "port", "disk", "loop"} {
		if r := e.Try("run", "--rm", "hostile", "head", "-c", "1", "/"+dev); r.Code == 0 || !strings.Contains(r.Stderr, "Operation not permitted") {
			t.Errorf("%s: %+v", dev, r)
		}
	}
	found := ""
	filepath.WalkDir(e.Dir+"/data/image", func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.Name() == "root-shell" {
			found = p
		}
		return nil
	})
	if found == "" {
		t.Fatal("the image's file is not on disk")
	}
	c := exec.Command("/bin/cat", found)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Errorf("another user gets at %s: %v, %s", found, err, out)
	}
}
