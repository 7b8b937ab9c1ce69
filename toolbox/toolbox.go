// Package toolbox holds the built-in image hoy/toolbox and installs it.
package toolbox

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/klauspost/compress/zstd"

	"hoy/lib/fault"
	"hoy/toolbox/names"
)

// Ref is the name of the built-in image.
const Ref = "hoy/toolbox:latest"

// Label holds the digest of the program that an installed image was made of.
const Label = "io.hoy.toolbox"

//go:embed all:embed
var embedded embed.FS

// program returns the compressed program that this binary carries.
func program() ([]byte, error) {
	b, err := embedded.ReadFile("embed/hoy-toolbox.zst")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotImplemented, "this engine was built without its toolbox image: build it by 'make build'")
	}
	return b, err
}

// Digest identifies the image that Install makes.
func Digest() (string, error) {
	b, err := program()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Importer makes an image named Ref of a root file system archive, with these
// Dockerfile instructions and creation time.
type Importer func(ctx context.Context, archive io.Reader, changes []string, created time.Time) error

// Install makes sure that the image is the one this program carries: present is the
// value of Label in the image that has the name now, "" when none has.
//
// The image's content and ID depend on nothing but the program and Changes.
func Install(ctx context.Context, present string, load Importer) error {
	digest, err := Digest()
	if err != nil || digest == present {
		return err
	}
	packed, err := program()
	if err != nil {
		return err
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		return fmt.Errorf("cannot unpack the toolbox: %w", err)
	}
	defer z.Close()
	binary, err := z.DecodeAll(packed, nil)
	if err != nil {
		return fmt.Errorf("cannot unpack the toolbox: %w", err)
	}
	archive, err := Archive(binary)
	if err != nil {
		return fmt.Errorf("cannot make the toolbox image: %w", err)
	}
	if err := load(ctx, bytes.NewReader(archive), Changes(digest), epoch); err != nil {
		return fmt.Errorf("cannot install the toolbox image: %w", err)
	}
	return nil
}

// epoch is when everything in the image was made.
var epoch = time.Unix(0, 0).UTC()

// Changes are the instructions for the image's configuration.
func Changes(digest string) []string {
	return []string{
		`CMD ["sh"]`,
		"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LABEL " + Label + "=" + digest,
	}
}

// Archive is the image's root file system with binary as all of its programs.
func Archive(binary []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(binary) + 64<<10)
	w := tar.NewWriter(&b)
	put := func(h tar.Header, body []byte) error {
		h.Size, h.ModTime = int64(len(body)), epoch
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := w.Write(body)
		return err
	}
	for _, d := range []struct {
		name string
		mode int64
	}{{"bin/", 0o755}, {"dev/", 0o755}, {"etc/", 0o755}, {"home/", 0o755}, {"proc/", 0o555}, {"root/", 0o700}, {"run/", 0o755}, {"sys/", 0o555}, {"tmp/", 0o1777}, {"usr/", 0o755}, {"usr/bin/", 0o755}, {"var/", 0o755}} {
		if err := put(tar.Header{Typeflag: tar.TypeDir, Name: d.name, Mode: d.mode}, nil); err != nil {
			return nil, err
		}
	}
	for _, f := range []struct{ name, body string }{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		{"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
		{"etc/os-release", "NAME=\"hoy toolbox\"\nID=hoy-toolbox\nPRETTY_NAME=\"hoy toolbox\"\n"},
		{"etc/nsswitch.conf", "hosts: files dns\n"},
	} {
		if err := put(tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644}, []byte(f.body)); err != nil {
			return nil, err
		}
	}
	if err := put(tar.Header{Typeflag: tar.TypeReg, Name: "bin/hoy-toolbox", Mode: 0o755}, binary); err != nil {
		return nil, err
	}
	for _, n := range names.All() {
		if err := put(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + n, Linkname: "hoy-toolbox", Mode: 0o777}, nil); err != nil {
			return nil, err
		}
	}
	if err := put(tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/bin/env", Linkname: "../../bin/env", Mode: 0o777}, nil); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}
