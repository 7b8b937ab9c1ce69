package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// floor does what any store of images must, without being one: it writes each blob and
// hashes it, hashes its content when that is another, and has tar(1) unpack it, all at
// once, and then syncs once.
func floor(dir string, blobs [][]byte) error {
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

func untar(dir string, blob []byte) error {
	tar := exec.Command("tar", "-xf", "-", "-C", dir)
	if !bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		tar.Stdin = bytes.NewReader(blob)
		return tar.Run()
	}
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		return err
	}
	in, err := tar.StdinPipe()
	if err == nil {
		err = tar.Start()
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.MultiWriter(sha256.New(), in), z); err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	return tar.Wait()
}
