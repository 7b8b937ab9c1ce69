package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// copyEnd is a destination. Its path has slashes.
type copyEnd struct {
	path          string
	exists, isDir bool
}

// place decides into which directory an archive is unpacked, and what its first name
// becomes there.
func (e copyEnd) place(sourceIsDir bool, base string) (dir, name string, err error) {
	above, last := splitEntry(e.path)
	switch {
	case e.exists && e.isDir:
		return e.path, base, nil
	case e.exists && sourceIsDir:
		return "", "", errors.New("cannot copy directory")
	case !e.exists && !sourceIsDir && (strings.HasSuffix(e.path, "/") || last == "."):
		return "", "", errors.New("no such directory")
	}
	return above, last, nil
}

// splitEntry splits a path into its directory and last name, which "/." at the end is.
func splitEntry(p string) (dir, base string) {
	clean := path.Clean(p)
	if path.Base(p) == "." {
		return clean, "."
	}
	return path.Dir(clean), path.Base(clean)
}

// lastName is what the engine calls the first member of an archive of p.
func lastName(p string) string {
	_, base := splitEntry(p)
	return base
}

// renamer gives members, whose first name is from, the first name to.
func renamer(from, to string) func(string) string {
	from, to = strings.TrimRight(from, "/"), strings.TrimRight(to, "/")
	return func(name string) string {
		if from == "" {
			return path.Join(to, name)
		}
		rest, ok := strings.CutPrefix(name, from)
		if !ok || rest != "" && rest[0] != '/' {
			return name
		}
		return to + rest
	}
}

// behindLink is the path to copy instead of a link, with the end that the link's path
// had, and the name that the copy keeps.
func behindLink(p, target string) (to, name string) {
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(path.Clean(p)), target)
	}
	to = target
	switch {
	case path.Base(p) == ".":
		to += "/."
	case strings.HasSuffix(p, "/"):
		to += "/"
	}
	if path.Base(p) != path.Base(to) {
		name = path.Base(p)
	}
	return to, name
}

// localTarget looks at a destination on this machine, behind links too.
func localTarget(dst string) (copyEnd, error) {
	p, err := filepath.Abs(dst)
	if err != nil {
		return copyEnd{}, err
	}
	if dir := filepath.Dir(p); dir != "." {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return copyEnd{}, fmt.Errorf("invalid output path: directory %q does not exist", dir)
		}
	}
	if fi, err := os.Stat(p); err == nil {
		if err := outputMode(fi.Mode()); err != nil {
			return copyEnd{}, fmt.Errorf("invalid output path: %q must be a directory or a regular file: %w", p, err)
		}
		return copyEnd{path: filepath.ToSlash(p), exists: true, isDir: fi.IsDir()}, nil
	}
	if l, err := os.Readlink(p); err == nil { // to something that is not there yet
		if !filepath.IsAbs(l) {
			l = filepath.Join(filepath.Dir(p), l)
		}
		p = l
	}
	return copyEnd{path: filepath.ToSlash(p) + ending(dst)}, nil
}

// ending is how a path says that it means a directory.
func ending(p string) string {
	p = filepath.ToSlash(p)
	switch {
	case strings.HasSuffix(p, "/."):
		return "/."
	case strings.HasSuffix(p, "/"):
		return "/"
	}
	return ""
}

// localSource finds what to pack, and the name that it has in the archive.
func localSource(src string, follow bool) (local, name string, isDir bool, err error) {
	p, err := filepath.Abs(src)
	if err != nil {
		return "", "", false, err
	}
	name = filepath.Base(p)
	end := ending(src)
	if follow || end != "" {
		if p, err = filepath.EvalSymlinks(p); err != nil {
			return "", "", false, err
		}
	}
	fi, err := os.Lstat(p)
	if err != nil {
		return "", "", false, err
	}
	if end != "" && !fi.IsDir() {
		return "", "", false, fmt.Errorf("%s is not a directory", src)
	}
	if end == "/." || src == "." {
		name = "."
	}
	return p, name, fi.IsDir(), nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
