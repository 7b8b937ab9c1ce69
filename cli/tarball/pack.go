// Package tarball packs and unpacks files of the machine that the command line runs
// on, for cp. It runs wherever the command line does.
package tarball

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Pack writes the file or directory at path as a tar archive in which it is called
// name; "." stands for a directory whose contents alone are meant. Links are packed
// as links.
func Pack(w io.Writer, path, name string) error {
	b := bufio.NewWriterSize(w, 64<<10)
	p := packer{out: tar.NewWriter(b), top: path, name: name, links: map[inode]string{}}
	if err := filepath.WalkDir(path, p.add); err != nil {
		return err
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	return b.Flush()
}

type packer struct {
	out       *tar.Writer
	top, name string
	links     map[inode]string // files with several names: the first in the archive
}

// inode is what a file is apart from its names.
type inode struct{ device, number uint64 }

func (p *packer) add(path string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	fi, err := d.Info()
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSocket != 0 {
		return nil // tar has no sockets
	}
	h, err := p.header(path, fi)
	if err != nil {
		return err
	}
	if first, ok := p.first(fi, h.Name); ok {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
	}
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("cannot pack %s: %w", path, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return p.content(path, h.Size)
}

func (p *packer) header(path string, fi fs.FileInfo) (*tar.Header, error) {
	link := ""
	if fi.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(nameless{fi}, filepath.ToSlash(link))
	if err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", path, err)
	}
	h.Name = p.name + filepath.ToSlash(strings.TrimPrefix(path, strings.TrimRight(p.top, string(filepath.Separator))))
	if p.name == "." {
		h.Name = "./" + strings.TrimLeft(h.Name[1:], "/")
	}
	if fi.IsDir() {
		h.Name = strings.TrimRight(h.Name, "/") + "/"
	}
	h.Format, h.ModTime = tar.FormatPAX, fi.ModTime().Truncate(1e9)
	return h, nil
}

// nameless keeps the names of owners out of the archive: they are this machine's.
type nameless struct{ fs.FileInfo }

func (nameless) Uname() (string, error) { return "", nil }
func (nameless) Gname() (string, error) { return "", nil }

// first returns the name by which a file is in the archive already.
func (p *packer) first(fi fs.FileInfo, name string) (string, bool) {
	id, several := identity(fi)
	if !several || fi.IsDir() {
		return "", false
	}
	first, ok := p.links[id]
	if !ok {
		p.links[id] = name
	}
	return first, ok
}

// content packs exactly size bytes, which the archive has promised.
func (p *packer) content(path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(p.out, f, size); err == io.EOF {
		return fmt.Errorf("%s became shorter while it was packed", path)
	} else if err != nil {
		return fmt.Errorf("cannot pack %s: %w", path, err)
	}
	return nil
}
