package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hoy/lib/boltfile"
	"hoy/lib/fault"
)

// undamaged refuses a store whose databases are not what the last engine has left. With
// one that is empty or gone the store would take all blobs and layers for rubbish, those
// too on which containers stand, and remove them.
func undamaged(root string) error {
	layers := filepath.Join(root, "overlay/snapshots")
	for path, kept := range map[string][]string{
		filepath.Join(root, "meta.db"):             {filepath.Join(root, "content/blobs/sha256"), layers},
		filepath.Join(root, "overlay/metadata.db"): {layers},
	} {
		err := boltfile.Check(path)
		if fi, statErr := os.Stat(path); errors.Is(err, fs.ErrNotExist) || statErr == nil && fi.Size() == 0 {
			if !holdsAny(kept) {
				continue // new, or an engine was killed before it had written anything
			}
		}
		if err != nil {
			return fault.New(fault.Unavailable, "%w; it says which files here belong to which image and container: "+
				"put back a copy of the whole folder, or move it away to begin without images", err)
		}
	}
	return nil
}

func holdsAny(dirs []string) bool {
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "new-") { // begun, and never finished
				return true
			}
		}
	}
	return false
}
