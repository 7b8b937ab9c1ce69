package extract

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/idmap"
)

// IntoOptions say how Into unpacks.
type IntoOptions struct {
	Dir string // where, from the root; it must be a directory
	// KeepKinds: a directory is not replaced by something else, nor the other way round.
	KeepKinds bool
	// Whole: the archive is that of the directory itself, which gets the owner, mode and
	// time that the archive says, too.
	Whole bool
	// Owner, when set, owns everything, whatever the archive says.
	Owner *Owner
	// IDs is the map by which the root shows owners, nil: as they are. Archive and
	// Owner have them as inside.
	IDs *idmap.Map
}

// Owner is a user and a group.
type Owner struct{ UID, GID int }

// Into unpacks the plain tar archive r into a directory below root that has contents
// of its own, and that others may write to at the same time: what is there is replaced
// member by member, directories are merged, and nothing leads out of root.
func Into(ctx context.Context, root *os.File, r io.Reader, o IntoOptions) error {
	o.Dir = strings.TrimPrefix(path.Clean("/"+o.Dir), "/")
	u := &unpacker{root: root, free: math.MaxInt64, inodes: math.MaxInt64, buf: make([]byte, 256<<10), into: &o}
	u.dirs.init(root)
	defer u.dirs.close()
	if err := u.all(ctx, tar.NewReader(r)); err != nil {
		return err
	}
	if err := u.times(); err != nil {
		return err
	}
	_, err := io.CopyBuffer(io.Discard, onlyReader{r}, u.buf)
	if err != nil {
		return fmt.Errorf("cannot read the end of the archive: %w", err)
	}
	return nil
}

// place is where a member goes, from the root, and makes its owner the one on disk.
func (u *unpacker) place(h *tar.Header) (string, error) {
	name, err := inside(h.Name)
	if err != nil || u.into == nil || name == "" {
		return name, err
	}
	if h.Uid, h.Gid, err = u.into.outside(h.Uid, h.Gid); err != nil {
		return "", fmt.Errorf("cannot unpack %q: %w", h.Name, err)
	}
	return path.Join(u.into.Dir, name), nil
}

// linkTarget is the member that a hard link names.
func (u *unpacker) linkTarget(h *tar.Header) (string, error) {
	target, err := inside(h.Linkname)
	if err != nil || u.into == nil || target == "" {
		return target, err
	}
	return path.Join(u.into.Dir, target), nil
}

// outside is the owner on disk of a member that belongs to uid and gid.
func (o *IntoOptions) outside(uid, gid int) (int, int, error) {
	if o.Owner != nil {
		uid, gid = o.Owner.UID, o.Owner.GID
	}
	if o.IDs == nil {
		return uid, gid, nil
	}
	u, okU := o.IDs.UID(uint32(uid))
	g, okG := o.IDs.GID(uint32(gid))
	if !okU || !okG {
		return 0, 0, fault.New(fault.Invalid, "owner %d:%d does not exist in the container's user namespace", uid, gid)
	}
	return int(u), int(g), nil
}

// own gives a directory that no member names to the container's root, or the owner.
func (o *IntoOptions) own(dir int, base string) error {
	uid, gid, err := o.outside(0, 0)
	if err != nil || uid == 0 && gid == 0 {
		return err
	}
	return os.NewSyscallError("fchownat", unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

// replaceBy removes what is at the place of a member that is no directory.
func (u *unpacker) replaceBy(dir *os.File, base string, h *tar.Header) error {
	if u.into != nil && u.into.KeepKinds {
		var st unix.Stat_t
		err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			err = u.mayReplace(h, &st)
		}
		if err != nil && err != unix.ENOENT {
			return err
		}
	}
	return u.replace(dir, base)
}

// mayReplace says, in docker's words, why a member must not replace what is there.
func (u *unpacker) mayReplace(h *tar.Header, there *unix.Stat_t) error {
	if u.into == nil || !u.into.KeepKinds {
		return nil
	}
	wasDir, isDir := there.Mode&unix.S_IFMT == unix.S_IFDIR, h.Typeflag == tar.TypeDir
	switch {
	case wasDir && !isDir:
		return fault.New(fault.Invalid, "cannot overwrite directory %q with non-directory %q", path.Join("/", u.into.Dir, h.Name), "/"+u.into.Dir)
	case !wasDir && isDir:
		return fault.New(fault.Invalid, "cannot overwrite non-directory %q with directory %q", path.Join("/", u.into.Dir, h.Name), "/"+u.into.Dir)
	}
	return nil
}
