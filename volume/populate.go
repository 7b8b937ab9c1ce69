package volume

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/linux/idmap"
	"hoy/linux/mount"
	"hoy/linux/tree"
)

// Populate copies the tree at path inside root, a container's root file system,
// into the volume if that is empty, as docker does at a volume's first use: with
// owners, modes, times, extended attributes and hard links, and with the owner and
// mode of the directory itself. A path that is missing in root, or is no directory,
// is no failure. sub is a directory in the volume to be filled instead of the whole;
// one that is missing is left to whoever mounts it.
//
// ids is the map by which root shows owners, nil when it shows them as they are: in
// the volume they are as in the image. Links are copied and never followed out of
// root; everything below goes by descriptor.
func (s *Store) Populate(name, sub string, root *os.File, path string, ids *idmap.Map) error {
	e, err := s.find(name)
	if err != nil {
		return err
	}
	e.populate.Lock()
	defer e.populate.Unlock()
	src, err := mount.OpenIn(root, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot populate volume %s from %s: %w", name, path, err)
	}
	defer src.Close()
	if err := populate(e.v.Mountpoint, sub, src, ids); err != nil {
		return fmt.Errorf("cannot populate volume %s from %s: %w", name, path, err)
	}
	return nil
}

func missing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

func populate(data, sub string, src *os.File, ids *idmap.Map) error {
	dst, err := openData(data, sub)
	if err != nil {
		return missingIsFine(err)
	}
	defer dst.Close()
	if _, err := dst.Readdirnames(1); err != io.EOF {
		return err // nil: something is in it already
	}
	mark := filepath.Join(filepath.Dir(data), marker)
	if err := os.WriteFile(mark, []byte(sub), 0o600); err != nil {
		return err
	}
	err = failpoint.Hit(failpoint.VolumePopulateMark)
	if err == nil {
		err = tree.Copy(dst, src, tree.Options{IDs: ids})
	}
	if err == nil {
		err = failpoint.Hit(failpoint.VolumePopulated)
	}
	if err != nil {
		return errors.Join(err, empty(data, sub), os.Remove(mark))
	}
	return os.Remove(mark)
}

func missingIsFine(err error) error {
	if missing(err) {
		return nil
	}
	return err
}

// openData opens the directory sub of a volume's files, "" is all of them.
func openData(data, sub string) (*os.File, error) {
	all, err := os.OpenFile(data, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil || sub == "" {
		return all, err
	}
	defer all.Close()
	return mount.OpenBeneath(all, sub, unix.O_RDONLY|unix.O_DIRECTORY)
}

// empty removes everything in the directory sub of a volume's files.
func empty(data, sub string) error {
	dir, err := openData(data, sub)
	if err != nil {
		return missingIsFine(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := tree.RemoveAt(dir, n); err != nil {
			return err
		}
	}
	return nil
}
