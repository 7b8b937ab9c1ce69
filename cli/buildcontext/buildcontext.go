// Package buildcontext finds what an image is built of: the files of a folder that
// .dockerignore lets through, an archive or a Dockerfile from standard input, or the URL
// of something that the engine fetches.
package buildcontext

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hoy/lib/buildfiles"
)

// Source says what to build, in the words of the command line.
type Source struct {
	Context    string    // a folder, a URL, or "-" for In
	Dockerfile string    // a path, "-" for In; "": Dockerfile in the context
	In         io.Reader // standard input
	// Named are further contexts: a folder, or a URL, which may be docker-image://….
	Named []Named
}

// Named is a further context.
type Named struct{ Name, Value string }

// Context is what a Source stands for, as client.BuildOptions has it. Nothing but the
// Dockerfile's text is read before the engine asks for it.
type Context struct {
	Remote     string             // a URL that the engine fetches
	Archive    io.Reader          // or an archive
	Files      []buildfiles.Named // or a folder; besides the Dockerfile, and folders that are further contexts
	URLs       map[string]string  // further contexts, by name
	Dockerfile string             // its path in the context, or in the folder dockerfile of Files; "": Dockerfile
}

// defaultName is what a Dockerfile is called unless -f says otherwise.
const defaultName = "Dockerfile"

// stdin stands for standard input.
const stdin = "-"

// Open finds the context. Its errors say what is not there or contradicts itself.
func Open(s Source) (*Context, error) {
	c, err := open(s)
	if err != nil {
		return nil, err
	}
	for _, n := range s.Named {
		if err := c.name(n); err != nil {
			return nil, fmt.Errorf("cannot use the build context %s: %w", n.Name, err)
		}
	}
	if c.Archive != nil && len(c.Files) > 0 {
		return nil, errors.New("an archive on standard input goes with further contexts that are URLs only: unpack it, and build from the folder")
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
	head, err := in.Peek(buildfiles.TarHead)
	switch {
	case err != nil && err != io.EOF:
		return nil, fmt.Errorf("cannot read standard input: %w", err)
	case len(head) == 0:
		return nil, errors.New("standard input is empty: give it a Dockerfile or a tar archive")
	case isArchive(head):
		return &Context{Dockerfile: filepath.ToSlash(s.Dockerfile), Archive: in}, nil
	case s.Dockerfile != "":
		return nil, errors.New("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
	}
	text, err := readDockerfile(in)
	if err != nil {
		return nil, err
	}
	return &Context{Files: []buildfiles.Named{{Name: folderContext, Folder: texts{}}, {Name: folderDockerfile, Folder: texts{{defaultName, text}}}}}, nil
}

// fromURL has the Dockerfile in there, or from here.
func fromURL(s Source) (*Context, error) {
	if s.Dockerfile != stdin && !filepath.IsAbs(s.Dockerfile) {
		return &Context{Remote: s.Context, Dockerfile: filepath.ToSlash(s.Dockerfile)}, nil
	}
	d, err := findDockerfile("", s)
	if err != nil {
		return nil, err
	}
	return &Context{Remote: s.Context, Dockerfile: d.name, Files: []buildfiles.Named{{Name: folderDockerfile, Folder: d.files}}}, nil
}

// fromFolder takes the files of a folder. The Dockerfile goes along in one of its own, so
// that it need not be among them.
func fromFolder(s Source) (*Context, error) {
	t, key, err := folder(s.Context)
	if err != nil {
		return nil, err
	}
	d, err := findDockerfile(t.root, s)
	if err != nil {
		return nil, err
	}
	if t.ignored, err = readIgnore(t.root, d.path); err != nil {
		return nil, err
	}
	return &Context{Dockerfile: d.name, Files: []buildfiles.Named{{Name: folderContext, Key: key, Folder: t}, {Name: folderDockerfile, Folder: d.files}}}, nil
}

// name adds a further context: the files of a folder, but for what its .dockerignore
// says, or what the engine fetches.
func (c *Context) name(n Named) error {
	fi, err := os.Stat(n.Value)
	switch {
	case strings.HasPrefix(n.Value, "oci-layout://"):
		return errors.New("oci-layout:// is not built yet: load the image, and use docker-image://")
	case strings.HasPrefix(n.Value, "docker-image://"), strings.HasPrefix(n.Value, "target:"), (err != nil || !fi.IsDir()) && IsRemote(n.Value):
		if c.URLs == nil {
			c.URLs = map[string]string{}
		}
		c.URLs[n.Name] = n.Value
		return nil
	case err != nil:
		return err
	case !fi.IsDir():
		return fmt.Errorf("%s is no folder", n.Value)
	}
	t, key, err := folder(n.Value)
	if err != nil {
		return err
	}
	if t.ignored, err = readIgnore(t.root, ""); err != nil {
		return err
	}
	c.Files = append(c.Files, buildfiles.Named{Name: folderContext + ":" + n.Name, Key: key, Folder: t})
	return nil
}

// The names by which a build knows its folders.
const folderContext, folderDockerfile = "context", "dockerfile"

// folder is a folder, and its key: what the engine has kept of it is of this very folder.
func folder(path string) (t *tree, key string, err error) {
	root, err := filepath.EvalSymlinks(path)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return nil, "", fmt.Errorf("cannot build from %s: %w", path, err)
	}
	host, _ := os.Hostname() // without one all machines of the engine's are one
	return &tree{root: root}, host + ":" + root, nil
}

// isArchive reports whether a stream begins as a tar archive, or as something compressed.
func isArchive(head []byte) bool {
	for _, magic := range []string{"\x1f\x8b\x08", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return buildfiles.IsTar(head)
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
