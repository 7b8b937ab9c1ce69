package tarball

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Unpack unpacks a tar archive into the directory dir. rename gives each member its
// name there. Nothing but a directory replaces a directory, nor the other way round,
// and whatever the archive says, nothing outside of dir is written: it comes from a
// container. What belongs to whom is not taken over. warn is told of members that
// cannot be here, like devices.
func Unpack(dir string, archive io.Reader, rename func(string) string, warn func(string)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{root: root, dir: dir, rename: rename, warn: warn}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return u.settle()
		}
		if err != nil {
			return fmt.Errorf("cannot read the archive: %w", err)
		}
		if err := u.member(h, r); err != nil {
			return fmt.Errorf("cannot unpack %q: %w", h.Name, err)
		}
	}
}

type unpacker struct {
	root   *os.Root
	dir    string
	rename func(string) string
	warn   func(string)
	dirs   []directory // whose mode and time come last
}

type directory struct {
	name  string
	mode  fs.FileMode
	mtime time.Time
}

// local is a member's name on this system, "." for the directory unpacked into.
func (u *unpacker) local(name string) (string, error) {
	name = path.Clean(strings.TrimLeft(u.rename(name), "/"))
	if name == "" || name == "." {
		return ".", nil
	}
	l, err := filepath.Localize(name)
	if err != nil {
		return "", fmt.Errorf("it would not be inside of %s", u.dir)
	}
	return l, nil
}

func (u *unpacker) member(h *tar.Header, r io.Reader) error {
	name, err := u.local(h.Name)
	if err != nil || name == "." {
		return err
	}
	if err := u.makeWay(name, h.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode) & fs.ModePerm
	switch h.Typeflag {
	case tar.TypeDir:
		u.dirs = append(u.dirs, directory{name, h.FileInfo().Mode(), h.ModTime})
		return u.root.MkdirAll(name, mode|0o700)
	case tar.TypeReg:
		return u.file(name, h, r)
	case tar.TypeSymlink:
		return u.root.Symlink(filepath.FromSlash(h.Linkname), name)
	case tar.TypeLink:
		target, err := u.local(h.Linkname)
		if err != nil {
			return err
		}
		return u.root.Link(target, name)
	case tar.TypeXGlobalHeader:
		return nil
	}
	u.warn(fmt.Sprintf("%s is left out: it is no file, directory or link", h.Name))
	return nil
}

// makeWay makes the directories above a member and removes what it replaces.
func (u *unpacker) makeWay(name string, isDir bool) error {
	if parent := filepath.Dir(name); parent != "." {
		if err := u.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	fi, err := u.root.Lstat(name)
	switch {
	case err != nil:
		return nil // not there
	case fi.IsDir() && isDir:
		return nil
	case fi.IsDir():
		return fmt.Errorf("cannot overwrite directory %q with non-directory", filepath.Join(u.dir, name))
	case isDir:
		return fmt.Errorf("cannot overwrite non-directory %q with directory", filepath.Join(u.dir, name))
	}
	return u.root.Remove(name)
}

func (u *unpacker) file(name string, h *tar.Header, r io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = u.root.Chmod(name, h.FileInfo().Mode())
	}
	if err == nil {
		err = u.root.Chtimes(name, h.ModTime, h.ModTime)
	}
	return err
}

// settle sets what would have been in the way, or changed, before.
func (u *unpacker) settle() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		d := u.dirs[i]
		if err := u.root.Chmod(d.name, d.mode); err != nil {
			return err
		}
		if err := u.root.Chtimes(d.name, d.mtime, d.mtime); err != nil {
			return err
		}
	}
	return nil
}
