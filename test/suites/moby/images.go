package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hoy/test/busybox"
)

// standIn is an image that moby's tests expect to be there.
type standIn struct {
	tags []string
	arch string
	cmd  []string
	root []byte // tar
}

// standIns are made of Debian's busybox, with programs in the place of some of its own, and
// a program that says hello.
func (o *options) standIns() ([]standIn, error) {
	root, err := busybox.Tar()
	if err == nil {
		root, err = o.withStandIns(root)
	}
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(o.cache, "hello"))
	if err != nil {
		return nil, err
	}
	hello, err := archive(map[string][]byte{"hello": b}, []string{"hello"})
	if err != nil {
		return nil, err
	}
	other, err := archive(map[string][]byte{"hello": b, "glibc": nil}, []string{"hello", "glibc"})
	if err != nil {
		return nil, err
	}
	return []standIn{
		{[]string{"busybox:latest"}, "amd64", []string{"sh"}, root},
		{[]string{"busybox:glibc"}, "amd64", []string{"sh", "-l"}, root},
		{[]string{"debian:trixie-slim"}, "amd64", []string{"bash"}, root},
		{[]string{"hello-world:frozen", "hello-world:amd64"}, "amd64", []string{"/hello"}, hello},
		{[]string{"hello-world:arm64"}, "arm64", []string{"/hello"}, other},
	}, nil
}

// withStandIns adds the programs that stand in for busybox's to an archive.
func (o *options) withStandIns(root []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for r := tar.NewReader(bytes.NewReader(root)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(inContainers, strings.TrimPrefix(h.Name, "bin/")) {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, r); err != nil {
			return nil, err
		}
	}
	for _, name := range inContainers {
		program, err := os.ReadFile(filepath.Join(o.cache, name))
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/" + name, Mode: 0o755, Size: int64(len(program))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(program); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// imageArchive packs images as `docker save` does.
func imageArchive(images []standIn) ([]byte, error) {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	files := map[string][]byte{}
	var order []string
	add := func(name string, content []byte) {
		if files[name] == nil {
			order = append(order, name)
		}
		files[name] = content
	}
	for _, i := range images {
		layer := digest(i.root)
		config, err := json.Marshal(map[string]any{
			"created": "2024-01-01T00:00:00Z", "architecture": i.arch, "os": "linux",
			"config":  map[string]any{"Cmd": i.cmd, "Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
			"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer}},
			"history": []map[string]any{{"created": "2024-01-01T00:00:00Z", "created_by": "a stand-in"}},
		})
		if err != nil {
			return nil, err
		}
		add(layer+"/layer.tar", i.root)
		add(digest(config)+".json", config)
		manifest = append(manifest, entry{digest(config) + ".json", i.tags, []string{layer + "/layer.tar"}})
	}
	m, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	add("manifest.json", m)
	return archive(files, order)
}

func archive(files map[string][]byte, order []string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range order {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(files[name]))}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// load gives an engine the images by its API.
func (o *options) load(api *api) error {
	images, err := o.standIns()
	if err != nil {
		return err
	}
	b, err := imageArchive(images)
	if err != nil {
		return err
	}
	answer, err := api.post("/images/load?quiet=1", b)
	if err != nil {
		return fmt.Errorf("cannot load the images: %w", err)
	}
	if bytes.Contains(answer, []byte(`"error"`)) {
		return errors.New("cannot load the images: " + string(answer))
	}
	return nil
}
