// Package imagefloor does what any store of images must do with the layers of an image, and
// nothing else: what stores are measured against.
package imagefloor

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hoy/image/extract"
)

// Run writes each blob and
// hashes it, hashes its content when that is another, and has tar(1) unpack it, all at
// once, and then syncs once.
func Run(dir string, blobs [][]byte) error {
	var g errgroup.Group
	for i, b := range blobs {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		g.Go(func() error { return writeHashed(filepath.Join(dir, fmt.Sprint("blob", i)), b) })
		g.Go(func() error { return untar(own, b) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

func writeHashed(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	const chunk = 256 << 10
	for ; len(b) > 0; b = b[min(len(b), chunk):] {
		part := b[:min(len(b), chunk)]
		sum.Write(part)
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// untar has tar(1) unpack a layer, whose content is hashed beside when it is compressed.
func untar(dir string, blob []byte) error {
	tar := exec.Command("tar", "-xf", "-", "-C", dir)
	if extract.Detect(blob) == extract.None {
		tar.Stdin = bytes.NewReader(blob)
		return tar.Run()
	}
	plain, _, err := extract.Decompress(bytes.NewReader(blob))
	if err != nil {
		return err
	}
	defer plain.Close()
	in, err := tar.StdinPipe()
	if err == nil {
		err = tar.Start()
	}
	if err != nil {
		return err
	}
	hashed, out := io.Pipe()
	var g errgroup.Group
	g.Go(func() error {
		_, err := io.Copy(sha256.New(), hashed)
		return err
	})
	g.Go(func() error {
		_, err := io.Copy(io.MultiWriter(out, in), plain)
		return errors.Join(err, out.Close(), in.Close())
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return tar.Wait()
}
