package pack

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// whiteouts of the image specification, and of overlayfs.
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	opaqueXattr    = "trusted.overlay.opaque"
)

// mark is a whiteout: a member that only says that something is not there.
func (p *packer) mark(name string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}

func parentOf(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}

// checkName refuses names that a layer cannot hold: whoever reads it would hide
// another file for them.
func checkName(base, name string) error {
	if strings.HasPrefix(base, whiteoutPrefix) {
		return fault.New(fault.Invalid, "cannot keep %s in an image: names that begin with %q mark removed files there", name, whiteoutPrefix)
	}
	return nil
}

// isOpaque reports that a directory of an upper layer hides the one below.
func isOpaque(f *os.File) bool {
	var v [1]byte
	n, err := unix.Fgetxattr(int(f.Fd()), opaqueXattr, v[:])
	return err == nil && n == 1 && v[0] == 'y'
}

// attributes adds the extended attributes that belong to the file wherever it is:
// capabilities and the user's own. Labels, ACLs of the file system and overlayfs's
// own stay.
func attributes(h *tar.Header, f *os.File) error {
	fd := int(f.Fd())
	n, err := unix.Flistxattr(fd, nil)
	if err != nil || n == 0 {
		return nil // none, or the file system has none
	}
	list := make([]byte, n)
	if n, err = unix.Flistxattr(fd, list); err != nil {
		return nil
	}
	for k := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if k != capability && !strings.HasPrefix(k, "user.") {
			continue
		}
		v := make([]byte, 64<<10) // XATTR_SIZE_MAX
		m, err := unix.Fgetxattr(fd, k, v)
		if errors.Is(err, unix.ENODATA) {
			continue // removed since
		}
		if err != nil {
			return os.NewSyscallError("fgetxattr", err)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		if v = v[:m]; k == capability {
			v = ownedByRoot(v)
		}
		h.PAXRecords["SCHILY.xattr."+k] = string(v)
	}
	return nil
}

const capability = "security.capability"

// ownedByRoot turns capabilities that hold in one user namespace only
// (VFS_CAP_REVISION_3, which ends with the namespace's root) into those that hold for
// whoever is root: the namespace is this machine's.
func ownedByRoot(v []byte) []byte {
	const revision2, revision3, mask = 0x02000000, 0x03000000, 0xff000000
	if len(v) != 24 {
		return v
	}
	magic := binary.LittleEndian.Uint32(v)
	if magic&mask != revision3 {
		return v
	}
	binary.LittleEndian.PutUint32(v, magic&^mask|revision2)
	return v[:20]
}
