package buildcontext

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hoy/lib/buildfiles"
)

// dockerfile is a Dockerfile, with what says which files it does not want.
type dockerfile struct {
	path  string // on this machine; "": it came from standard input
	name  string // in files
	files texts
}

// findDockerfile finds it in the folder root, or where -f says.
func findDockerfile(root string, s Source) (d dockerfile, err error) {
	switch s.Dockerfile {
	case stdin:
		text, err := readDockerfile(s.In)
		return dockerfile{name: defaultName, files: texts{{defaultName, text}}}, err
	case "":
		if d.path, err = defaultDockerfile(root); err != nil {
			return d, err
		}
	default:
		d.path = s.Dockerfile
	}
	f, err := os.Open(d.path)
	if err != nil {
		return d, fmt.Errorf("cannot read the Dockerfile: %w", err)
	}
	defer f.Close()
	text, err := readDockerfile(f)
	if err != nil {
		return d, err
	}
	d.name = filepath.Base(d.path)
	d.files = texts{{d.name, text}}
	ignored, err := os.ReadFile(d.path + ignoreSuffix)
	switch {
	case err == nil:
		d.files = append(d.files, textFile{d.name + ignoreSuffix, ignored})
	case !errors.Is(err, fs.ErrNotExist):
		return d, fmt.Errorf("cannot read which files to leave out: %w", err)
	}
	return d, nil
}

// defaultDockerfile is Dockerfile or dockerfile.
func defaultDockerfile(root string) (string, error) {
	for _, name := range []string{defaultName, strings.ToLower(defaultName)} {
		path := filepath.Join(root, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no Dockerfile in %s: name it by -f", root)
}

// maxDockerfile bounds what is read in memory.
const maxDockerfile = 2 << 20

func readDockerfile(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDockerfile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the Dockerfile: %w", err)
	}
	if len(text) > maxDockerfile {
		return nil, errors.New("the Dockerfile is larger than 2 MiB")
	}
	return text, nil
}

// texts is a folder of texts.
type texts []textFile

type textFile struct {
	name string
	text []byte
}

// List tells of them. Their time is one that only this text has: whose time and size are
// what they were, of that the engine takes what it has.
func (l texts) List(tell func(buildfiles.Entry) error) error {
	for _, t := range l {
		sum := sha256.Sum256(t.text)
		e := buildfiles.Entry{Name: t.name, Mode: 0o644, Size: int64(len(t.text)), Time: int64(binary.BigEndian.Uint64(sum[:]) >> 2)}
		if err := tell(e); err != nil {
			return err
		}
	}
	return nil
}

// Open opens one of them.
func (l texts) Open(name string) (io.ReadCloser, error) {
	for _, t := range l {
		if t.name == name {
			return io.NopCloser(bytes.NewReader(t.text)), nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
