package buildcontext

import (
	"bytes"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes are the extended attributes of a file that mean something in an image:
// capabilities, and those that users give. Others are of this machine (labels of SELinux
// and the like).
func attributes(path string) (map[string][]byte, error) {
	var list [1024]byte
	n, err := unix.Llistxattr(path, list[:])
	names := list[:max(n, 0)]
	for errors.Is(err, unix.ERANGE) {
		if n, err = unix.Llistxattr(path, nil); err != nil {
			break
		}
		names = make([]byte, n)
		n, err = unix.Llistxattr(path, names)
		names = names[:max(n, 0)]
	}
	if errors.Is(err, unix.ENOTSUP) || len(names) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out map[string][]byte
	for name := range bytes.SplitSeq(bytes.TrimSuffix(names, []byte{0}), []byte{0}) {
		key := string(name)
		if key != "security.capability" && !strings.HasPrefix(key, "user.") {
			continue
		}
		value := make([]byte, 64<<10) // the most that Linux lets one have
		n, err := unix.Lgetxattr(path, key, value)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string][]byte{}
		}
		out[key] = value[:n:n]
	}
	return out, nil
}
