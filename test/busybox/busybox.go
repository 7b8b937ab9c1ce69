// Package busybox makes root file systems around Debian's static busybox, for tests
// that need an image and have no registry.
package busybox

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
)

// Tar returns a root file system: every applet, the usual system users, and a user
// "app" (uid 1000).
func Tar() ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, errors.New("busybox is missing: install the package busybox-static, or use make test")
	}
	bin, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var failed error
	add := func(h tar.Header, content string) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			failed = errors.Join(failed, err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	for _, d := range []string{"bin", "etc", "root", "home", "proc", "sys", "dev", "var"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755}, "")
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	add(tar.Header{Typeflag: tar.TypeDir, Name: "home/app/", Mode: 0o755, Uid: 1000, Gid: 1000}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, users)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, groups)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(bin))
	for _, a := range strings.Fields(string(list)) {
		if a != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + a, Linkname: "busybox"}, "")
		}
	}
	return b.Bytes(), errors.Join(failed, w.Close())
}

const users = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
app:x:1000:1000::/home/app:/bin/sh
`

const groups = `root:x:0:
daemon:x:1:
bin:x:2:
mail:x:8:
wheel:x:10:
audio:x:29:
www-data:x:33:
staff:x:50:
nobody:x:65534:
app:x:1000:
extra:x:2000:app
`
