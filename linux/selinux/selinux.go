// Package selinux labels files and tells containers' labels apart.
package selinux

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// categories is how many a policy has for containers, c0 to c1023.
const categories = 1024

// Level is the level that keeps container id apart from all others: two categories,
// which follow from the id, so that nobody needs to remember them.
func Level(id string) string {
	sum := sha256.Sum256([]byte(id))
	a, b := binary.BigEndian.Uint16(sum[:])%categories, binary.BigEndian.Uint16(sum[2:])%categories
	if a == b {
		b = (a + 1) % categories
	}
	return fmt.Sprintf("s0:c%d,c%d", min(a, b), max(a, b))
}

// attribute holds a file's label.
const attribute = "security.selinux"

// Relabel gives the file at path, and everything below it, a label. The directories
// that the machine's own programs live in are refused: with a container's label nobody
// could log in any more. A file system without labels is no failure.
func Relabel(path, label string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("cannot relabel: %w", err)
	}
	if slices.Contains([]string{
		"/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64", "/media", "/opt", "/proc",
		"/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log",
	}, path) {
		return fault.New(fault.Invalid, "SELinux relabeling of %s is not allowed", path)
	}
	err = filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = unix.Lsetxattr(p, attribute, []byte(label), 0)
		}
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return nil
		}
		return err
	})
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("error setting label on mount source '%s': %w", path, err)
	}
	return nil
}
