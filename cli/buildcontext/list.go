package buildcontext

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"hoy/lib/buildfiles"
)

// inode is what a file is apart from its names.
type inode struct{ device, number uint64 }

// List tells of the files, as package buildfiles wants them: owned by nobody in
// particular, with links, modes, times and what of extended attributes means something in
// an image.
func (t *tree) List(tell func(buildfiles.Entry) error) error {
	links := map[inode]string{} // files with several names: the first that was told of
	return t.walk(func(f file) error {
		e, err := entry(f)
		if err != nil {
			return err
		}
		if id, several := identity(f.info); several && f.info.Mode().IsRegular() {
			if first, ok := links[id]; ok {
				e.Link, e.Size, e.Attrs = first, 0, nil
			} else {
				links[id] = f.name
			}
		}
		return tell(e)
	})
}

func entry(f file) (e buildfiles.Entry, err error) {
	m := f.info.Mode()
	e = buildfiles.Entry{Name: f.name, Mode: mode(uint32(m)), Time: f.info.ModTime().UnixNano()}
	switch {
	case m.IsRegular():
		e.Size = f.info.Size()
	case m&fs.ModeSymlink != 0:
		link, err := os.Readlink(f.path)
		if err != nil {
			return e, unreadable(err)
		}
		e.Link, e.Size = filepath.ToSlash(link), f.info.Size()
		return e, nil
	case m&fs.ModeDevice != 0:
		e.Major, e.Minor = device(f.info)
	}
	if e.Attrs, err = attributes(f.path); err != nil {
		return e, fmt.Errorf("cannot read the extended attributes of %s: %w", f.path, err)
	}
	return e, nil
}

// Open opens one of the files that List told of.
func (t *tree) Open(name string) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(t.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, unreadable(err)
	}
	return f, nil
}
