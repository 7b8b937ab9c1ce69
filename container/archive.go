package container

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"hoy/image/extract"
	"hoy/image/pack"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/linux/mount"
	"hoy/runtime"
)

// Archive is a tar archive of a container's files, not read yet. It holds the files
// until Close.
type Archive struct {
	Stat  *apicontainer.PathStat // of what is packed; nil: the whole file system
	v     *view
	pack  func(ctx context.Context, w io.Writer) error
	close func()
}

// Close lets the files go.
func (a *Archive) Close() { a.close() }

// Write writes the archive, until ctx ends or the container needs its files. A w that
// has SetWriteDeadline does not hold that up.
func (a *Archive) Write(ctx context.Context, w io.Writer) error {
	ctx, done := a.v.during(ctx, func() {
		if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
			d.SetWriteDeadline(time.Unix(1, 0))
		}
	})
	defer done()
	return a.v.explain(a.pack(ctx, w))
}

// during is a context for work in a view: it ends with ctx or the view. When the view
// ends first, cut is called, to wake who waits for a client.
func (v *view) during(ctx context.Context, cut func()) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(v.ctx, func() { cancel(); cut() })
	return ctx, func() { stop(); cancel() }
}

// explain says that work was broken off on purpose.
func (v *view) explain(err error) error {
	if err != nil && v.ctx.Err() != nil {
		return fault.New(fault.Conflict, "broken off: the container is being started or removed")
	}
	return err
}

// StatPath describes a file of a container as lstat(2) in it would.
func (c *Containers) StatPath(ctx context.Context, ref, p string) (*apicontainer.PathStat, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	v, release, err := c.view(ctx, k)
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := v.stat(p)
	return s, fileError(ref, p, err)
}

// fileError puts a missing file into docker's words.
func fileError(ref, p string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "Could not find the file %s in container %s", p, ref)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return fault.New(fault.Invalid, "lstat %s: %w", p, err)
	}
	return err
}

func (v *view) stat(p string) (*apicontainer.PathStat, error) {
	f, err := mount.OpenIn(v.tree, p, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &apicontainer.PathStat{Name: path.Base(p), Size: fi.Size(), Mode: fi.Mode(), Mtime: fi.ModTime()}
	if fi.Mode()&fs.ModeSymlink == 0 {
		return s, nil
	}
	to, err := mount.Resolve(v.tree, p)
	if err != nil {
		return nil, err
	}
	to.Dir.Close()
	s.LinkTarget = path.Join(to.Path, path.Join(to.Missing...))
	return s, nil
}

// cleanPath makes p absolute and clean, but keeps its end: "/" and "/." at the end of
// a link mean the directory behind it. "/./" is "/.", as docker has it.
func cleanPath(p string) string {
	clean := path.Join("/", p)
	switch {
	case p != "" && path.Base(p) == ".":
		return strings.TrimSuffix(clean, "/") + "/."
	case strings.HasSuffix(p, "/") && clean != "/":
		return clean + "/"
	}
	return clean
}

// Archive packs a file or directory of a container. Its first member is named by the
// last part of p.
func (c *Containers) Archive(ctx context.Context, ref, p string) (*Archive, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	v, release, err := c.view(ctx, k)
	if err != nil {
		return nil, err
	}
	at := cleanPath(p)
	a := &Archive{v: v, close: release}
	if a.Stat, err = v.stat(at); err != nil {
		release()
		return nil, fileError(ref, p, err)
	}
	a.pack = func(ctx context.Context, w io.Writer) error { return v.pack(ctx, w, at, a.Stat.Mode.IsDir()) }
	c.event(k, events.ActionArchivePath)
	return a, nil
}

func (v *view) pack(ctx context.Context, w io.Writer, at string, isDir bool) error {
	o := pack.Options{Name: path.Base(at), IDs: v.ids}
	if isDir {
		dir, err := mount.OpenIn(v.tree, at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if err != nil {
			return err
		}
		defer dir.Close()
		if strings.HasSuffix(at, "/.") {
			o.Name = "."
		}
		return pack.Tree(ctx, w, dir, o)
	}
	dir, err := mount.OpenIn(v.tree, path.Dir(at), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	return pack.File(ctx, w, dir, path.Base(at), o)
}

// ExtractOptions say how an archive is unpacked into a container.
type ExtractOptions struct {
	Path string // the directory to unpack into
	// KeepKinds: nothing but a directory replaces a directory, nor the other way round.
	KeepKinds bool
	// CopyUIDGID: everything belongs to the container's user, if it has one.
	CopyUIDGID bool
}

// Extract unpacks a tar archive, which may be compressed, into a directory of a
// container. A client that goes away leaves what was unpacked until then.
func (c *Containers) Extract(ctx context.Context, ref string, o ExtractOptions, r io.Reader) error {
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	v, release, err := c.view(ctx, k)
	if err != nil {
		return err
	}
	defer release()
	into, err := v.destination(o.Path)
	if err != nil {
		return fileError(ref, o.Path, err)
	}
	into.KeepKinds = o.KeepKinds
	if user := k.rec().Config.User; o.CopyUIDGID && user != "" {
		u, _, err := runtime.LookupUser(v.tree, user, nil)
		if err != nil {
			return err
		}
		into.Owner = &extract.Owner{UID: int(u.UID), GID: int(u.GID)}
	}
	ctx, done := v.during(ctx, func() {
		if d, ok := r.(interface{ SetReadDeadline(time.Time) error }); ok {
			d.SetReadDeadline(time.Unix(1, 0))
		}
	})
	defer done()
	plain, _, err := extract.Decompress(r)
	if err != nil {
		return err
	}
	defer plain.Close()
	uid, gid := v.root()
	err = idmap.As(uid, gid, func() error { return extract.Into(ctx, v.tree, plain, into) })
	if err != nil {
		return v.explain(refusal(err))
	}
	c.event(k, events.ActionExtractToDir)
	return nil
}

// refusal makes what the files refuse the caller's concern.
func refusal(err error) error {
	switch {
	case fault.KindOf(err) != fault.Internal:
	case errors.Is(err, unix.EROFS):
		return fault.New(fault.Invalid, "read-only: %w", err)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EBUSY), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fault.As(fault.Invalid, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.As(fault.Unavailable, err)
	}
	return err
}

// destination checks, in docker's words, that p is a directory to write to. The mounts
// of the view refuse what this does not see.
func (v *view) destination(p string) (o extract.IntoOptions, err error) {
	place, err := mount.Resolve(v.tree, p)
	if err != nil {
		return o, err
	}
	defer place.Dir.Close()
	if len(place.Missing) > 0 {
		return o, &os.PathError{Op: "lstat", Path: p, Err: unix.ENOENT}
	}
	if fi, err := place.Dir.Stat(); err != nil {
		return o, err
	} else if !fi.IsDir() {
		return o, fault.New(fault.Invalid, "extraction point is not a directory")
	}
	if m := v.mountOf(place.Path); m != nil && !m.RW {
		return o, fault.New(fault.Invalid, "mounted volume is marked read-only")
	} else if m == nil && v.readOnly {
		return o, fault.New(fault.Invalid, "container rootfs is marked read-only")
	}
	return extract.IntoOptions{Dir: p, IDs: v.ids}, nil
}

// mountOf finds the mount that a path without links is in, nil: the root file system.
func (v *view) mountOf(p string) (found *mountPoint) {
	for i, m := range v.mounts {
		at := path.Clean(m.Destination)
		if (p == at || strings.HasPrefix(p, at+"/")) && (found == nil || len(at) > len(path.Clean(found.Destination))) {
			found = &v.mounts[i]
		}
	}
	return found
}
