package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// pointsDir is the lowest layer of every mount: the directories and files that the
// engine mounts something on in every container. An image that has them hides these;
// where it does not, as many do with /etc/hosts, they need not be made at every
// start, and the container's layer stays empty. docker has a layer for the same
// purpose above the image's; as there, what is in it is no change by the container.
// /.dockerenv is by what programs, systemd among them, know that they are in a container; by
// /etc/mtab, with which C libraries and others list mounts, they find what is mounted.
const pointsDir = ".points"

var (
	pointDirs  = [...]string{"dev", "etc", "proc", "sys"}
	pointFiles = [...]string{".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf"}
	pointLinks = map[string]string{"etc/mtab": "/proc/mounts"}
)

// makePoints makes that layer, or completes it.
func makePoints(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range pointDirs {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil { // whatever the umask is
			return err
		}
	}
	for _, name := range pointFiles {
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		f.Close()
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	for name, target := range pointLinks {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
