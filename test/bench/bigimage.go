package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

const bigName = "bench-big:latest"

// bigLayers are the layers, plain, of an archive of docker save; "": of one made of
// Go's own files, as many as there are up to eight layers of 36 MB.
func bigLayers(archive string) (layers [][]byte, err error) {
	if archive == "" {
		root, err := output(exec.Command("go", "env", "GOROOT"))
		if err != nil {
			return nil, err
		}
		return ownLayers(root, 8, 36<<20)
	}
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return layers, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", archive, err)
		}
		if !strings.HasSuffix(h.Name, ".tar") {
			continue
		}
		l, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
}

func ownLayers(root string, most int, each int64) (layers [][]byte, err error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	next := func() error {
		if err := w.Close(); err != nil {
			return err
		}
		layers = append(layers, bytes.Clone(b.Bytes()))
		b.Reset()
		w = tar.NewWriter(&b)
		return nil
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o644, Size: int64(len(body))}); err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil || int64(b.Len()) < each {
			return err
		}
		if err := next(); err != nil {
			return err
		}
		if len(layers) == most {
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && b.Len() > 0 {
		err = next()
	}
	return layers, err
}

// compressed are the layers as docker push and build store them.
func compressed(layers [][]byte) ([][]byte, error) {
	out := make([][]byte, len(layers))
	var g errgroup.Group
	for i, l := range layers {
		g.Go(func() error {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			if _, err := w.Write(l); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
			out[i] = b.Bytes()
			return nil
		})
	}
	return out, g.Wait()
}

// writeArchive writes what docker save does, of layers that are stored otherwise.
func writeArchive(path string, plain, stored [][]byte) error {
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, RootFS: ocispec.RootFS{Type: "layers"}}
	var names []string
	for i, l := range plain {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
		names = append(names, fmt.Sprintf("%d/layer.tar", i))
	}
	c, err := json.Marshal(config)
	if err != nil {
		return err
	}
	m, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{bigName}, "Layers": names}})
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for i, body := range append([][]byte{c, m}, stored...) {
		name := append([]string{"config.json", "manifest.json"}, names...)[i]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}); err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return err
		}
	}
	return w.Close()
}

func size(layers [][]byte) (n int) {
	for _, l := range layers {
		n += len(l)
	}
	return n
}
