package volume

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"

	"hoy/lib/atomicfile"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/tree"
)

// Read has a volume's files read, by its directory. The volume stays, and mounted where
// its options say so, until read returns. Containers may write to it meanwhile: who wants
// a state that belongs together pauses them.
func (s *Store) Read(name string, read func(dir *os.File) error) error {
	e, done, err := s.reading(name)
	if err != nil {
		return err
	}
	defer done()
	reader := "reader " + rand.Text()
	if err := s.Mount(name, reader); err != nil {
		return err
	}
	defer s.Unmount(name, reader)
	e.populate.Lock() // what is being copied from an image is waited for
	dir, err := openData(e.v.Mountpoint, "")
	e.populate.Unlock()
	if err != nil {
		return err
	}
	defer dir.Close()
	return read(dir)
}

func (s *Store) reading(name string) (e *entry, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.vols[name]; e == nil {
		return nil, nil, notFound(name)
	}
	e.readers++
	return e, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.readers--
	}, nil
}

// Clone makes a volume with the files of another. A limit of its size and its labels go
// over, unless the request has its own; a file system of its options does not: the clone
// lies on this machine's disk.
func (s *Store) Clone(from string, r Request) (*Volume, error) {
	v, err := s.Get(from)
	if err != nil {
		return nil, err
	}
	if r.Options == nil && v.Options["size"] != "" {
		r.Options = map[string]string{"size": v.Options["size"]}
	}
	if r.Labels == nil {
		r.Labels = named(v.Labels)
	}
	return s.Make(r, func(dst *os.File) error {
		err := s.Read(from, func(src *os.File) error { return tree.Copy(dst, src, tree.Options{}) })
		if err != nil {
			return fmt.Errorf("cannot clone volume %s: %w", from, err)
		}
		return nil
	})
}

// named are the labels of a volume that somebody gives a name to.
func named(labels map[string]string) map[string]string {
	labels = maps.Clone(labels)
	delete(labels, AnonymousLabel)
	return labels
}

// Rename gives a volume that no container refers to another name. An anonymous one is
// anonymous no more: prune leaves it alone.
func (s *Store) Rename(from, to string) (*Volume, error) {
	if err := ValidName(to); err != nil {
		return nil, fault.New(fault.Invalid, "rename %s: %w", from, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.vols[from]
	switch {
	case e == nil:
		return nil, notFound(from)
	case s.vols[to] != nil:
		return nil, fault.New(fault.Conflict, "rename %s: there is a volume %s", from, to)
	}
	if err := e.free("rename"); err != nil {
		return nil, err
	}
	if err := s.rename(e, to); err != nil {
		return nil, fmt.Errorf("cannot rename volume %s: %w", from, err)
	}
	return s.vols[to].view(), nil
}

// rename changes the record first: in between there is the old name, which the directory
// has, with a record that says another, which nobody reads. The caller holds mu.
func (s *Store) rename(e *entry, to string) error {
	old := s.path(e.v.Name)
	v := s.newVolume(Request{Name: to, Options: e.v.Options}, named(e.v.Labels))
	v.CreatedAt = e.v.CreatedAt
	if err := v.save(old, true); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.VolumeRecordMoved); err != nil {
		return err
	}
	if err := s.move(old, to); err != nil {
		return err
	}
	delete(s.vols, e.v.Name)
	s.vols[to] = newEntry(v)
	if err := atomicfile.SyncDir(s.root); err != nil {
		return err
	}
	return failpoint.Hit(failpoint.VolumeRenamed)
}
