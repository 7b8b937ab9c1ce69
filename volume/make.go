package volume

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hoy/lib/atomicfile"
	"hoy/lib/cleanup"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/tree"
)

// Make makes a volume that has files from the beginning: fill writes them into its
// directory, and until it has returned nobody sees the volume. There must not be one of
// the name.
func (s *Store) Make(r Request, fill func(dir *os.File) error) (*Volume, error) {
	if err := validate(r); err != nil {
		return nil, err
	}
	if _, err := s.find(r.Name); err == nil {
		return nil, taken(r.Name)
	}
	v := s.newVolume(r, r.Labels)
	if v.needsMount() {
		return nil, fault.New(fault.Invalid, "create %s: what is put into a volume when it is made lies on this machine's disk: type and device do not go with that", r.Name)
	}
	tmp, undo, err := s.build(v, true, fill)
	defer undo.Run()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vols[v.Name] != nil {
		return nil, taken(v.Name)
	}
	if err := s.place(tmp, v, true); err != nil {
		return nil, err
	}
	undo.Release()
	e := newEntry(v)
	s.vols[v.Name] = e
	return e.made(true), nil
}

func taken(name string) error {
	return fault.New(fault.Conflict, "create %s: there is a volume of that name", name)
}

// write makes an empty volume, or with fill one that has files.
func (s *Store) write(v Volume, durable bool, fill func(dir *os.File) error) error {
	tmp, undo, err := s.build(v, durable, fill)
	defer undo.Run()
	if err != nil {
		return err
	}
	if err := s.place(tmp, v, durable); err != nil {
		return err
	}
	undo.Release()
	return nil
}

// build makes the volume under a hidden name.
func (s *Store) build(v Volume, durable bool, fill func(dir *os.File) error) (tmp string, undo *cleanup.Stack, err error) {
	undo = &cleanup.Stack{}
	tmp = filepath.Join(s.root, "."+rand.Text())
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return tmp, undo, err
	}
	undo.Add(func() { tree.Remove(tmp) })
	data := filepath.Join(tmp, dataDir)
	if err := os.Mkdir(data, 0o755); err != nil {
		return tmp, undo, err
	}
	if err := os.Chmod(data, 0o755); err != nil { // whatever the umask
		return tmp, undo, err
	}
	if err := limit(data, v.Options["size"]); err != nil {
		return tmp, undo, err
	}
	if fill != nil {
		if err := filled(data, fill); err != nil {
			return tmp, undo, err
		}
	}
	if err := v.save(tmp, durable); err != nil {
		return tmp, undo, err
	}
	return tmp, undo, failpoint.Hit(failpoint.VolumeMade)
}

// filled has the files written, and brings them to the disk.
func filled(data string, fill func(dir *os.File) error) error {
	dir, err := openData(data, "")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := failpoint.Hit(failpoint.VolumeFilling); err != nil {
		return err
	}
	if err := fill(dir); err != nil {
		return err
	}
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return os.NewSyscallError("syncfs", err)
	}
	return failpoint.Hit(failpoint.VolumeFilled)
}

// save writes the record into a volume's directory.
func (v *Volume) save(dir string, durable bool) error {
	b, err := json.Marshal(record{recordVersion, *v})
	if err != nil {
		return err
	}
	put := atomicfile.Write
	if durable {
		put = atomicfile.WriteSync
	}
	return put(filepath.Join(dir, recordFile), b, 0o600)
}

// place gives a volume that is built its name, which nothing else may have.
func (s *Store) place(tmp string, v Volume, durable bool) error {
	if err := s.move(tmp, v.Name); err != nil {
		return err
	}
	if durable {
		if err := atomicfile.SyncDir(s.root); err != nil {
			return err
		}
	}
	return failpoint.Hit(failpoint.VolumeNamed)
}

// move renames a directory to the volume's name; what is there already stays.
func (s *Store) move(dir, name string) error {
	err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, filepath.Join(s.root, name), unix.RENAME_NOREPLACE)
	at := filepath.Join(s.root, name)
	if err == unix.EEXIST {
		// Its files stay as they are: without the record nobody knows whose file system they are on.
		if _, why := readRecord(at); why != nil && !errors.Is(why, fs.ErrNotExist) {
			return fault.New(fault.Conflict, "%s is in the way: its record %s cannot be read (%w)", at, recordFile, why)
		}
		return fault.New(fault.Conflict, "%s is in the way: it is no volume of this engine", at)
	}
	return os.NewSyscallError("renameat2", err)
}
