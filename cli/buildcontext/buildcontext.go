// Package buildcontext finds what an image is built of, and sends it: the files of a
// folder that .dockerignore lets through, an archive or a Dockerfile from standard input,
// or the URL of something that the engine fetches.
package buildcontext

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Source says what to build, in the words of the command line.
type Source struct {
	Context    string    // a folder, a URL, or "-" for In
	Dockerfile string    // a path, "-" for In; "": Dockerfile in the context
	In         io.Reader // standard input
	Compress   bool      // send the files compressed by gzip
}

// Context is what a Source stands for, ready to be sent:
//
//	c, err := buildcontext.Open(buildcontext.Source{Context: "."})
//	if c.Remote == "" {
//		body := c.Archive()
//		defer body.Close()
//	}
//
// Nothing is read before Archive is, and each file once.
type Context struct {
	// Remote is a URL that the engine fetches; "": there is an Archive.
	Remote string
	// Dockerfile is its path in the context, with slashes; "": Dockerfile.
	Dockerfile string

	write func(io.Writer) error
}

// defaultName is what a Dockerfile is called unless -f says otherwise.
const defaultName = "Dockerfile"

// stdin stands for standard input.
const stdin = "-"

// Open finds the context. Its errors say what is not there or contradicts itself.
func Open(s Source) (*Context, error) {
	c, err := open(s)
	if err != nil || !s.Compress || c.write == nil {
		return c, err
	}
	plain := c.write
	c.write = func(w io.Writer) error {
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a known one
		if err := plain(z); err != nil {
			return err
		}
		return z.Close()
	}
	return c, nil
}

func open(s Source) (*Context, error) {
	if s.Context == stdin {
		return fromInput(s)
	}
	fi, err := os.Stat(s.Context)
	switch {
	case err == nil && fi.IsDir():
		return fromFolder(s)
	case IsRemote(s.Context):
		return fromURL(s)
	case err == nil:
		return nil, fmt.Errorf("cannot build from %s: it is no folder: name the folder that holds the files, and the Dockerfile by -f", s.Context)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("unable to prepare context: path %q not found", s.Context)
	}
	return nil, fmt.Errorf("cannot build from %s: %w", s.Context, err)
}

// fromInput takes an archive, or a Dockerfile that needs no files.
func fromInput(s Source) (*Context, error) {
	if s.Dockerfile == stdin {
		return nil, errors.New("invalid argument: can't use stdin for both build context and dockerfile")
	}
	in := bufio.NewReaderSize(s.In, 64<<10)
	head, err := in.Peek(archiveHead)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("cannot read standard input: %w", err)
	}
	switch {
	case len(head) == 0:
		return nil, errors.New("standard input is empty: give it a Dockerfile or a tar archive")
	case !isArchive(head) && s.Dockerfile != "":
		return nil, errors.New("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
	}
	return &Context{Dockerfile: filepath.ToSlash(s.Dockerfile), write: func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	}}, nil
}

func fromURL(s Source) (*Context, error) {
	if s.Dockerfile == stdin || filepath.IsAbs(s.Dockerfile) {
		return nil, fmt.Errorf("cannot use the Dockerfile %s: with the context %s it is a path in there", s.Dockerfile, s.Context)
	}
	return &Context{Remote: s.Context, Dockerfile: filepath.ToSlash(s.Dockerfile)}, nil
}

// fromFolder takes the files of a folder. A Dockerfile that is not among them goes along
// under a name that changes with its text alone, so that results are found again.
func fromFolder(s Source) (*Context, error) {
	root, err := filepath.EvalSymlinks(s.Context)
	if err != nil {
		return nil, fmt.Errorf("cannot build from %s: %w", s.Context, err)
	}
	d, err := findDockerfile(root, s)
	if err != nil {
		return nil, err
	}
	ignored, err := readIgnore(root, d.path)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, ignored: ignored, keep: d.name}
	if d.text != nil {
		t.keep = ""
		t.extra = &extra{name: d.name, text: d.text}
	}
	return &Context{Dockerfile: d.name, write: t.pack}, nil
}

// dockerfile is where a Dockerfile is.
type dockerfile struct {
	path string // on this machine; "": nowhere
	name string // in the context
	text []byte // of one that is not in the folder
}

func findDockerfile(root string, s Source) (d dockerfile, err error) {
	switch s.Dockerfile {
	case stdin:
		d.text, err = io.ReadAll(s.In)
	case "":
		return defaultDockerfile(root)
	default:
		return namedDockerfile(root, s.Dockerfile)
	}
	if err != nil {
		return d, fmt.Errorf("cannot read the Dockerfile from standard input: %w", err)
	}
	d.name = foreignName(d.text)
	return d, nil
}

// defaultDockerfile is Dockerfile or dockerfile.
func defaultDockerfile(root string) (dockerfile, error) {
	for _, name := range []string{defaultName, strings.ToLower(defaultName)} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return dockerfile{path: filepath.Join(root, name), name: name}, nil
		}
	}
	return dockerfile{}, fmt.Errorf("there is no Dockerfile in %s: name it by -f", root)
}

func namedDockerfile(root, name string) (d dockerfile, err error) {
	real, err := filepath.EvalSymlinks(name)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	top, topErr := filepath.Abs(root)
	if err = errors.Join(err, topErr); err != nil {
		return d, fmt.Errorf("cannot find the Dockerfile: %w", err)
	}
	d.path = name
	if rel, err := filepath.Rel(top, real); err == nil && filepath.IsLocal(rel) {
		d.name = filepath.ToSlash(rel)
		return d, nil
	}
	if d.text, err = os.ReadFile(real); err != nil {
		return d, fmt.Errorf("cannot read the Dockerfile: %w", err)
	}
	d.name = foreignName(d.text)
	return d, nil
}

// foreignName is the name in the context of a Dockerfile that is not of the folder.
func foreignName(text []byte) string {
	return fmt.Sprintf(".dockerfile.%x", sha256.Sum256(text))[:len(".dockerfile.")+20]
}

// Archive reads the context as a tar archive, or as the Dockerfile alone that came from
// standard input. An error while files are packed is an error of reading. Close ends the
// packing.
func (c *Context) Archive() io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.write(w)) }()
	return r
}

// archiveHead is how much of a stream tells an archive.
const archiveHead = 1024

// isArchive reports whether a stream begins as a tar archive, or as something compressed.
func isArchive(head []byte) bool {
	for _, magic := range []string{"\x1f\x8b\x08", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return isTar(head)
}

// gitHosts are sites of which an address without a scheme is a repository.
const gitHosts = "github.com/"

// IsRemote reports whether a context is a URL: of a git repository, an archive or a
// Dockerfile.
func IsRemote(context string) bool {
	for _, scheme := range []string{"http://", "https://", "git://", "ssh://", "git@", gitHosts} {
		if strings.HasPrefix(context, scheme) {
			return true
		}
	}
	// As scp has it: user@host:path.
	user, rest, ok := strings.Cut(context, "@")
	host, _, hasPath := strings.Cut(rest, ":")
	return ok && hasPath && user != "" && host != "" && !strings.ContainsAny(user+host, "/\\")
}

// OpenNamed finds a further context: the files of a folder, all but what its
// .dockerignore says, or what the engine fetches.
func OpenNamed(value string) (*Context, error) {
	for _, scheme := range []string{"docker-image://", "target:"} {
		if strings.HasPrefix(value, scheme) {
			return &Context{Remote: value}, nil
		}
	}
	if strings.HasPrefix(value, "oci-layout://") {
		return nil, errors.New("oci-layout:// is not built yet: load the image and use docker-image://")
	}
	fi, err := os.Stat(value)
	switch {
	case err == nil && fi.IsDir():
	case IsRemote(value):
		return &Context{Remote: value}, nil
	case err == nil:
		return nil, fmt.Errorf("%s is no folder", value)
	default:
		return nil, err
	}
	root, err := filepath.EvalSymlinks(value)
	if err != nil {
		return nil, err
	}
	ignored, err := readIgnore(root, "")
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, ignored: ignored}
	return &Context{write: t.pack}, nil
}
