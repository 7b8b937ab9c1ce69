// Package pack writes tar archives of file trees: a container's root file system, a
// directory or file of it, its changes as an image's layer. It is the counterpart of
// package extract.
//
// The tree may belong to somebody who changes it meanwhile and means harm. What
// protects: every name is opened from the descriptor of its directory, links are
// never followed, and only what fstat(2) calls a regular file is opened.
package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/idmap"
)

// Options say how a tree is packed.
type Options struct {
	// Name is the root of the tree in the archive: with "etc" its members are etc/,
	// etc/passwd, …. With "" there is no member for the root itself.
	Name string
	// IDs is the map by which the tree shows its owners; in the archive they are as
	// inside. nil: as the tree shows them.
	IDs *idmap.Map
	// Layer: the tree is the upper directory of an overlay. Its whiteouts and opaque
	// directories become those of the image specification (layer.md).
	Layer bool
}

// maxDepth bounds directories within directories: each level holds a descriptor.
const maxDepth = 2000

// packer is one archive.
type packer struct {
	ctx   context.Context
	out   *tar.Writer
	o     Options
	links map[inode]string // files with several names: the first one in the archive
	buf   []byte
}

type inode struct{ dev, ino uint64 }

// Tree writes the archive of the directory dir. What goes away meanwhile is left out.
func Tree(ctx context.Context, w io.Writer, dir *os.File, o Options) error {
	return archive(ctx, w, o, func(p *packer) error {
		if o.Name != "" {
			if err := p.dirMember(dir, o.Name); err != nil {
				return err
			}
		}
		return p.children(dir, o.Name, 0)
	})
}

// File writes the archive of base in dir, which is named o.Name there. A link is
// packed as a link.
func File(ctx context.Context, w io.Writer, dir *os.File, base string, o Options) error {
	return archive(ctx, w, o, func(p *packer) error { return p.entry(dir, base, o.Name, 0) })
}

func archive(ctx context.Context, w io.Writer, o Options, fill func(*packer) error) error {
	b := bufio.NewWriterSize(w, 64<<10)
	p := &packer{ctx: ctx, out: tar.NewWriter(b), o: o, links: map[inode]string{}, buf: make([]byte, 256<<10)}
	if err := fill(p); err != nil {
		return err
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	return b.Flush()
}

// children packs what is in a directory, sorted, so that equal trees give equal
// archives.
func (p *packer) children(dir *os.File, name string, depth int) error {
	if depth > maxDepth {
		return fault.New(fault.Invalid, "cannot pack %.100s…: directories are nested more than %d deep", name, maxDepth)
	}
	names, err := dir.Readdirnames(-1)
	if err != nil && !gone(err) {
		return fmt.Errorf("cannot pack %s: %w", name, err)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if err := p.entry(dir, n, join(name, n), depth); err != nil {
			return err
		}
	}
	return nil
}

// join keeps docker's names: "/" is the prefix of what is in the root.
func join(dir, base string) string {
	switch dir {
	case "":
		return base
	case "/":
		return "/" + base
	}
	return dir + "/" + base
}

// gone reports that what was listed is not there any more, or is something else.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}

// entry packs one object and what is below it.
func (p *packer) entry(dir *os.File, base, name string, depth int) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			err = p.dir(dir, base, name, depth)
		case unix.S_IFREG:
			err = p.regular(dir, base, name)
		case unix.S_IFSOCK: // tar has no sockets
		default:
			err = p.special(dir, base, name, &st)
		}
	}
	if err == nil || gone(err) {
		return nil
	}
	if errors.Is(err, errWriting) || fault.KindOf(err) != fault.Internal || p.ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("cannot pack %s: %w", name, err)
}

// errWriting marks failures of whoever takes the archive.
var errWriting = errors.New("cannot write archive")

func (p *packer) put(h *tar.Header) error {
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("%w: %w", errWriting, err)
	}
	return nil
}

func (p *packer) dir(parent *os.File, base, name string, depth int) error {
	fd, err := unix.Openat(int(parent.Fd()), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	if err := p.dirMember(f, name); err != nil {
		return err
	}
	return p.children(f, name, depth+1)
}

func (p *packer) dirMember(f *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	h := p.header(&st, slashed(name))
	h.Typeflag = tar.TypeDir
	if err := attributes(h, f); err != nil {
		return err
	}
	if err := p.put(h); err != nil {
		return err
	}
	if p.o.Layer && isOpaque(f) {
		return p.put(p.mark(join(name, whiteoutOpaque)))
	}
	return nil
}

func slashed(name string) string {
	if name[len(name)-1] == '/' {
		return name
	}
	return name + "/"
}
