package build

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/moby/buildkit/cache/metadata"
	bolt "go.etcd.io/bbolt"

	"hoy/lib/atomicfile"
	"hoy/lib/boltfile"
)

// The cache's records are not synced as they are written: a build changes them some
// hundred times. A file says that they are in use, and since which boot of the machine:
//
//	<root>/unsynced        the kernel's boot id
//
// It is written before them, and goes when they are synced and closed. An engine that was
// killed has left it, but the kernel has all that was written. If the machine has gone down
// meanwhile, what is on disk may be of different times: it is removed, and all is built anew.
// So it is when a record is cut off or overwritten.
func openRecords(root string, log *slog.Logger) (*metadata.Store, error) {
	mark := filepath.Join(root, "unsynced")
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	was, err := os.ReadFile(mark)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	damage := damaged(root)
	if damage != nil {
		log.Error("the build cache is begun anew", "error", damage)
	}
	if damage != nil || err == nil && !bytes.Equal(was, boot) {
		for _, name := range recordFiles {
			if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
				return nil, err
			}
		}
	}
	if err := atomicfile.WriteSync(mark, boot, 0o600); err != nil {
		return nil, err
	}
	records, err := metadata.NewStore(filepath.Join(root, "metadata.db"))
	if err != nil {
		return nil, err
	}
	return records, records.DB().View(func(tx *bolt.Tx) error {
		tx.DB().NoSync = true
		return nil
	})
}

var recordFiles = [...]string{"metadata.db", "cache.db", "history.db"}

// damaged says which of the records is no database any more.
func damaged(root string) error {
	for _, name := range recordFiles {
		if err := boltfile.Check(filepath.Join(root, name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// syncRecords syncs what openRecords has opened, before it is closed; synced takes the
// mark away, when it is.
func syncRecords(records *metadata.Store) error {
	return records.DB().View(func(tx *bolt.Tx) error { return tx.DB().Sync() })
}

func synced(root string) error {
	// BuildKit does not sync the results of steps either.
	f, err := os.Open(filepath.Join(root, "cache.db"))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Remove(filepath.Join(root, "unsynced"))
}
