package contexts

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// Export writes a context as docker's archive: meta.json, tls/ENDPOINT/FILE.
func Export(w io.Writer, c *Context, tls TLS) error {
	meta, err := json.Marshal(c)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	put := func(name string, mode int64, content []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := t.Write(content)
		return err
	}
	folder := func(name string) error {
		return t.WriteHeader(&tar.Header{Name: name, Mode: 0o700, Typeflag: tar.TypeDir})
	}
	if err := errors.Join(put("meta.json", 0o644, meta), folder("tls")); err != nil {
		return err
	}
	for _, endpoint := range slices.Sorted(maps.Keys(tls)) {
		if err := folder(path.Join("tls", endpoint)); err != nil {
			return err
		}
		for _, file := range slices.Sorted(maps.Keys(tls[endpoint])) {
			if err := put(path.Join("tls", endpoint, file), 0o600, tls[endpoint][file]); err != nil {
				return err
			}
		}
	}
	return t.Close()
}

// largest is what an archive may hold.
const largest = 10 << 20

// Import reads an archive, tar or zip, of a context that gets the name. The archive is
// another's: nothing is written before all of it is right.
func Import(r io.Reader, name string) (*Context, TLS, error) {
	b, err := io.ReadAll(io.LimitReader(r, largest+1))
	if err == nil && len(b) > largest {
		err = errors.New("read exceeds the defined limit")
	}
	if err != nil {
		return nil, nil, err
	}
	in := incoming{tls: TLS{}, name: name}
	if bytes.HasPrefix(b, []byte("PK\x03\x04")) {
		err = in.zip(b)
	} else {
		err = in.tar(b)
	}
	if err == nil && in.context == nil {
		err = errors.New("invalid context: no metadata found")
	}
	return in.context, in.tls, err
}

// incoming is what has been read of an archive.
type incoming struct {
	name    string
	context *Context
	tls     TLS
	size    int64
}

func (in *incoming) tar(b []byte) error {
	t := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = in.file(h.Name, t)
		}
		if err != nil {
			return err
		}
	}
}

func (in *incoming) zip(b []byte) error {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	for _, f := range z.File {
		if !f.FileInfo().Mode().IsRegular() {
			continue
		}
		r, err := f.Open()
		if err == nil {
			err = in.file(f.Name, r)
			r.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (in *incoming) file(name string, r io.Reader) error {
	rest, isTLS := strings.CutPrefix(name, "tls/")
	switch {
	case name != "meta.json" && !isTLS:
		return fmt.Errorf("%s: unexpected context file", name)
	case path.Clean(name) != name:
		return fmt.Errorf("%s: unexpected path format", name)
	case strings.Contains(name, `\`):
		return fmt.Errorf(`%s: unexpected '\' in path`, name)
	}
	b, err := io.ReadAll(io.LimitReader(r, largest-in.size+1))
	if in.size += int64(len(b)); err == nil && in.size > largest {
		err = errors.New("read exceeds the defined limit")
	}
	if err != nil {
		return err
	}
	if isTLS {
		return in.certificate(rest, b)
	}
	in.context = &Context{}
	if err := json.Unmarshal(b, in.context); err != nil {
		return err
	}
	in.context.Name = in.name
	return nil
}

func (in *incoming) certificate(name string, content []byte) error {
	endpoint, file, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(file, "/") {
		return errors.New("archive format is invalid")
	}
	if in.tls[endpoint] == nil {
		in.tls[endpoint] = map[string][]byte{}
	}
	in.tls[endpoint][file] = content
	return nil
}
