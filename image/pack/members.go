package pack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/mount"
)

// regular packs a file by its descriptor: what it is, is what is packed.
func (p *packer) regular(dir *os.File, base, name string) error {
	if p.o.Layer {
		if err := checkName(base, name); err != nil {
			return err
		}
	}
	f, st, err := mount.OpenRegular(dir, base, unix.O_NOFOLLOW)
	if errors.Is(err, mount.ErrNotRegular) {
		return nil // replaced since it was listed
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := p.header(&st, name)
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if p.linked(h, &st) {
		return p.put(h)
	}
	if err := attributes(h, f); err != nil {
		return err
	}
	if err := p.put(h); err != nil {
		return err
	}
	return p.content(f, st.Size)
}

// content writes exactly size bytes: a file that shrinks meanwhile is filled up with
// zeros, one that grows is cut.
func (p *packer) content(f *os.File, size int64) error {
	for size > 0 {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(p.buf[:min(size, int64(len(p.buf)))])
		if err == io.EOF {
			n = int(min(size, int64(len(p.buf))))
			clear(p.buf[:n])
			err = nil
		}
		if err != nil {
			return err
		}
		if _, err := p.out.Write(p.buf[:n]); err != nil {
			return fmt.Errorf("%w: %w", errWriting, err)
		}
		size -= int64(n)
	}
	return nil
}

// linked makes h a link when the file is in the archive already under another name.
func (p *packer) linked(h *tar.Header, st *unix.Stat_t) bool {
	if st.Nlink < 2 {
		return false
	}
	key := inode{st.Dev, st.Ino}
	first, ok := p.links[key]
	if !ok {
		p.links[key] = h.Name
		return false
	}
	h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
	return true
}

// special packs what has no content: links, devices, FIFOs.
func (p *packer) special(dir *os.File, base, name string, st *unix.Stat_t) error {
	h := p.header(st, name)
	if p.o.Layer && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		return p.put(p.mark(join(parentOf(name), whiteoutPrefix+base)))
	}
	if p.o.Layer {
		if err := checkName(base, name); err != nil {
			return err
		}
	}
	if p.linked(h, st) {
		return p.put(h)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		var b [unix.PathMax]byte
		n, err := unix.Readlinkat(int(dir.Fd()), base, b[:])
		if errors.Is(err, unix.EINVAL) {
			return nil // no link any more
		}
		if err != nil {
			return os.NewSyscallError("readlinkat", err)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(b[:n])
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFBLK, unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return p.put(h)
}

// header has what all members have. Times are whole seconds, as docker's.
func (p *packer) header(st *unix.Stat_t, name string) *tar.Header {
	uid, gid := st.Uid, st.Gid
	if p.o.IDs != nil {
		uid, gid = p.o.IDs.Inside(uid, gid)
	}
	return &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(uid), Gid: int(gid),
		ModTime: time.Unix(st.Mtim.Sec, 0), Format: tar.FormatPAX,
	}
}
