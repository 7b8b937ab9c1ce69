// Package extract unpacks the tar archive of an image layer into a directory, in
// the form overlayfs takes as a lower layer, and cannot be led out of it.
//
// What protects: every name is resolved from the descriptor of the layer's root by
// openat2(2) with RESOLVE_IN_ROOT, as in a chroot, the last component is created
// with O_EXCL or by a call that does not follow links, and owners, modes and times
// are set by descriptor or with AT_SYMLINK_NOFOLLOW. Device nodes are made, as
// docker makes them, and never opened.
package extract

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// ErrTooLarge is in the error when a layer has more than Limits.Bytes.
var ErrTooLarge = errors.New("larger than allowed")

// ErrNoArchive is in the error for a stream that is no tar archive from its beginning.
var ErrNoArchive = errors.New("no layer can be made of it")

// Limits bounds what one layer may take. Zero values: only the disk bounds it.
type Limits struct {
	Bytes   int64 // sum of the files' sizes
	Entries int64
}

// Result says what a layer brought.
type Result struct {
	Bytes   int64 // sum of the files' sizes
	Entries int64
	// Implied are the directories that the archive names only as parents. Their
	// mode and owner are those of the layers below: see Adopt.
	Implied []string
	// Opaque are the directories that hide what is below them: see MarkOpaque.
	Opaque []string
}

// whiteouts of the image specification (layer.md) and of overlayfs.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
	opaqueXattr    = "trusted.overlay.opaque"
)

// unpacker is one run of Layer.
type unpacker struct {
	root   *os.File
	limits Limits
	free   int64 // bytes
	inodes int64
	res    Result
	dirs   dirCache
	late   []late // directories' times, set when nothing is created in them any more
	opaque map[string]bool
	name   string // of the member at hand, from the root
	buf    []byte
	into   *IntoOptions // nil: a layer
}

type late struct {
	path  string
	mtime time.Time
}

// Layer unpacks the plain tar archive r into the empty directory root and reads r
// to its end, so that a digest taken beside is that of the whole stream.
func Layer(ctx context.Context, root *os.File, r io.Reader, limits Limits) (Result, error) {
	res, err := Members(ctx, root, r, limits)
	if err != nil {
		return res, err
	}
	return res, MarkOpaque(root, res.Opaque)
}

// Members is Layer without what takes CAP_SYS_ADMIN: MarkOpaque is to follow.
func Members(ctx context.Context, root *os.File, r io.Reader, limits Limits) (Result, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(root.Fd()), &st); err != nil {
		return Result{}, fmt.Errorf("cannot unpack layer: %w", os.NewSyscallError("fstatfs", err))
	}
	u := &unpacker{root: root, limits: limits, free: int64(st.Bavail) * st.Bsize, inodes: inodes(&st), buf: make([]byte, 256<<10), opaque: map[string]bool{}}
	u.dirs.init(root)
	defer u.dirs.close()
	if err := u.all(ctx, tar.NewReader(r)); err != nil {
		return u.res, err
	}
	if err := u.times(); err != nil {
		return u.res, err
	}
	// What follows the end mark belongs to the stream that was hashed when the
	// layer was made (GNU tar pads to 10 KiB).
	if _, err := io.CopyBuffer(io.Discard, onlyReader{r}, u.buf); err != nil {
		return u.res, fmt.Errorf("cannot read the end of the archive: %w", err)
	}
	u.res.Opaque = slices.Sorted(maps.Keys(u.opaque))
	return u.res, nil
}

// inodes is how many files can still be made; some file systems set no number.
func inodes(st *unix.Statfs_t) int64 {
	if st.Files == 0 {
		return math.MaxInt64
	}
	return int64(st.Ffree)
}

type onlyReader struct{ io.Reader }

func (u *unpacker) all(ctx context.Context, tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil && u.res.Entries == 0 && fault.Is(ReadError(err), fault.Invalid) {
			return fault.New(fault.Invalid, "%w: %w", ErrNoArchive, ReadError(err))
		}
		if err != nil {
			return ReadError(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := u.count(h); err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			return err
		}
	}
}

// ReadError makes a damaged archive the caller's fault; failures of the reader
// below keep their kind.
func ReadError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Invalid, "archive is truncated: %w", err)
	case errors.Is(err, tar.ErrHeader):
		return fault.New(fault.Invalid, "not a tar archive, or a damaged one: %w", err)
	case errors.Is(err, tar.ErrFieldTooLong):
		return fault.New(fault.Invalid, "archive has a header of more than 1 MiB: %w", err)
	}
	return fmt.Errorf("cannot read archive: %w", err)
}

// maxID is the last user and group; the number after it means "as it is" to chown(2).
const maxID = math.MaxUint32 - 1

func (u *unpacker) count(h *tar.Header) error {
	u.res.Entries++
	u.res.Bytes += h.Size
	switch {
	case u.limits.Entries > 0 && u.res.Entries > u.limits.Entries:
		return fault.New(fault.Invalid, "archive has more than the %d entries that are allowed", u.limits.Entries)
	case h.Size < 0 || u.res.Bytes < 0 || u.limits.Bytes > 0 && u.res.Bytes > u.limits.Bytes:
		return fault.New(fault.Invalid, "%w: the archive unpacks to more than %d bytes (at %q)", ErrTooLarge, u.limits.Bytes, h.Name)
	case u.res.Bytes > u.free:
		// Sparse files and bombs claim any size in a few bytes.
		return fault.New(fault.Unavailable, "archive unpacks to %d bytes and more (at %q), the disk has %d free: %w", u.res.Bytes, h.Name, u.free, unix.ENOSPC)
	case u.into == nil && (h.Uid < 0 || h.Gid < 0 || h.Uid > maxID || h.Gid > maxID):
		return fault.New(fault.Invalid, "archive member %q belongs to %d:%d, which no user can be", h.Name, h.Uid, h.Gid)
	case u.res.Entries > u.inodes:
		return fault.New(fault.Unavailable, "archive has more than %d members, for which the file system has no room: %w", u.inodes, unix.ENOSPC)
	}
	return nil
}

// entry unpacks one member.
func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name, err := u.place(h)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, tar.TypeDir, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeCont, tar.TypeGNUSparse:
	default:
		return fault.New(fault.Invalid, "archive member %q has the unknown type %q", h.Name, h.Typeflag)
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return fault.New(fault.Invalid, "archive member %q would replace the root directory", h.Name)
		}
		if u.into != nil && !u.into.Whole {
			return nil // the directory unpacked into stays as it is
		}
		return u.finishDir(u.root, h, "")
	}
	u.name = name
	dir, err := u.parent(path.Dir(name))
	if err != nil {
		return fmt.Errorf("cannot unpack %q: %w", h.Name, u.blame(err))
	}
	base := path.Base(name)
	if u.into == nil && strings.HasPrefix(base, whiteoutPrefix) {
		err = u.whiteout(dir, base, path.Dir(name))
	} else {
		err = u.member(dir, base, name, h, r)
	}
	if err != nil {
		return fmt.Errorf("cannot unpack %q: %w", h.Name, u.blame(err))
	}
	return nil
}

// blame makes what the kernel refuses of a layer the layer's fault, or the disk's.
func (u *unpacker) blame(err error) error {
	var errno unix.Errno
	if u.into != nil || fault.KindOf(err) != fault.Internal || !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.ENAMETOOLONG, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EEXIST, unix.EMLINK, unix.EINVAL, unix.ERANGE, unix.ENOENT:
		return fault.As(fault.Invalid, err)
	case unix.ENOSPC, unix.EDQUOT:
		return fault.As(fault.Unavailable, err)
	}
	return err
}

// inside cleans a member's name: relative to the root, "" being the root itself.
// A leading slash is dropped as tar does; a name that climbs out is refused.
func inside(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", fault.New(fault.Invalid, "archive member %q has a NUL in its name", name)
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fault.New(fault.Invalid, "archive member %q leads out of the image's root", name)
	}
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

// member creates one object named base in dir.
func (u *unpacker) member(dir *os.File, base, name string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.directory(dir, base, name, h)
	case tar.TypeLink:
		return u.hardLink(dir, base, h)
	case tar.TypeSymlink:
		return u.special(dir, base, h, "symlinkat", func(fd int) error { return unix.Symlinkat(h.Linkname, fd, base) })
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		mode, dev := deviceOf(h)
		return u.special(dir, base, h, "mknodat", func(fd int) error { return unix.Mknodat(fd, base, mode, dev) })
	}
	return u.regular(dir, base, h, r)
}

func deviceOf(h *tar.Header) (mode uint32, dev int) {
	mode = uint32(h.Mode & 0o7777)
	switch h.Typeflag {
	case tar.TypeFifo:
		return mode | unix.S_IFIFO, 0
	case tar.TypeBlock:
		mode |= unix.S_IFBLK
	default:
		mode |= unix.S_IFCHR
	}
	return mode, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
}

// whiteout hides a name of the layers below, or everything in the directory.
func (u *unpacker) whiteout(dir *os.File, base, parent string) error {
	if base == whiteoutOpaque {
		u.opaque[parent] = true
		return nil
	}
	if strings.HasPrefix(base, whiteoutMeta) {
		return nil // aufs's own files
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return fault.New(fault.Invalid, "whiteout %q names nothing", base)
	}
	err := unix.Mknodat(int(dir.Fd()), hidden, unix.S_IFCHR, 0)
	if err == unix.EEXIST {
		// A whiteout speaks of the layers below. What this layer has already brought
		// stays; a directory hides what is below it.
		u.opaqueIfDir(dir, hidden, path.Join(parent, hidden))
		return nil
	}
	return os.NewSyscallError("mknodat", err)
}

func (u *unpacker) opaqueIfDir(dir *os.File, base, name string) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		u.opaque[name] = true
	}
}

// MarkOpaque makes overlayfs hide what the layers below have in the directories that
// names lists, as Members returns them. What is none any more is left out.
func MarkOpaque(root *os.File, names []string) error {
	for _, name := range names {
		f, err := openIn(root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if err != nil {
			continue
		}
		err = unix.Fsetxattr(int(f.Fd()), opaqueXattr, []byte("y"), 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("cannot make %q opaque: %w", name, os.NewSyscallError("fsetxattr", err))
		}
	}
	return nil
}
