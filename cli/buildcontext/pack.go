package buildcontext

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// pack writes the files as a tar archive, which is the same as long as they are: owned by
// root, in order, times in whole seconds.
func (t *tree) pack(w io.Writer) error {
	b := bufio.NewWriterSize(w, 256<<10)
	p := packer{out: tar.NewWriter(b), links: map[inode]string{}, buf: make([]byte, 256<<10)}
	if err := t.walk(p.add); err != nil {
		return err
	}
	if t.extra != nil {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: t.extra.name, Mode: 0o644, Size: int64(len(t.extra.text)), ModTime: time.Unix(0, 0)}
		if err := p.out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := p.out.Write(t.extra.text); err != nil {
			return err
		}
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	return b.Flush()
}

type packer struct {
	out   *tar.Writer
	links map[inode]string // files with several names: the first in the archive
	buf   []byte
}

// inode is what a file is apart from its names.
type inode struct{ device, number uint64 }

func (p *packer) add(f file) error {
	h, err := header(f)
	if err != nil {
		return err
	}
	if id, several := identity(f.info); several && !f.info.IsDir() {
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
		} else {
			p.links[id] = h.Name
		}
	}
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("cannot pack %s: %w", f.name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return p.content(f, h.Size)
}

func header(f file) (*tar.Header, error) {
	link := ""
	if f.info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(f.path); err != nil {
			return nil, unreadable(err)
		}
	}
	h, err := tar.FileInfoHeader(nameless{f.info}, filepath.ToSlash(link))
	if err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", f.name, err)
	}
	h.Name = f.name
	if f.info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid = 0, 0
	h.Mode = mode(h.Mode)
	h.ModTime, h.AccessTime, h.ChangeTime = h.ModTime.Truncate(time.Second), time.Time{}, time.Time{}
	if f.info.Mode()&fs.ModeSymlink == 0 {
		if h.PAXRecords, err = attributes(f.path); err != nil {
			return nil, fmt.Errorf("cannot read the extended attributes of %s: %w", f.path, err)
		}
	}
	return h, nil
}

// nameless keeps the names of owners out of the archive: they are this machine's.
type nameless struct{ fs.FileInfo }

func (nameless) Uname() (string, error) { return "", nil }
func (nameless) Gname() (string, error) { return "", nil }

// content packs exactly size bytes, which the archive has promised.
func (p *packer) content(f file, size int64) error {
	in, err := os.Open(f.path)
	if err != nil {
		return unreadable(err)
	}
	defer in.Close()
	for size > 0 {
		n, err := in.Read(p.buf[:min(size, int64(len(p.buf)))])
		if err == io.EOF {
			return fmt.Errorf("cannot pack %s: it became shorter meanwhile", f.path)
		}
		if err != nil {
			return unreadable(err)
		}
		if _, err := p.out.Write(p.buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// isTar reports whether a stream begins as a tar archive.
func isTar(head []byte) bool {
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return err == nil
}
