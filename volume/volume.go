// Package volume keeps directories that outlive the containers which use them.
package volume

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hoy/lib/atomicfile"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/linux/quota"
	"hoy/linux/tree"
)

// AnonymousLabel marks volumes that were made without a name, as docker does.
const AnonymousLabel = "com.docker.volume.anonymous"

// Volume is one volume, as it was when asked for. Nobody writes to it.
type Volume struct {
	Name       string            `json:"name"`
	Driver     string            `json:"driver"`
	Options    map[string]string `json:"options,omitempty"` // type, o, device and size, as the local driver has them
	Labels     map[string]string `json:"labels,omitempty"`
	CreatedAt  time.Time         `json:"createdAt"`
	For        string            `json:"for,omitempty"` // the container that it was made for, of one without a name
	Mountpoint string            `json:"-"`
	Users      []string          `json:"-"` // containers that refer to it, sorted
	New        bool              `json:"-"` // it was made by the call that returned this
}

// Anonymous reports whether it was made without a name.
func (v *Volume) Anonymous() bool { _, ok := v.Labels[AnonymousLabel]; return ok }

// Request is a volume to be made. The zero value asks for an anonymous one.
type Request struct {
	Name     string            // "": 64 hexadecimal digits
	Driver   string            // "" or "local"
	Options  map[string]string // type, device, o: what is mounted while containers run; size: limit in bytes, "10g"
	Labels   map[string]string
	Volatile bool // it may be lost when the machine crashes now: for --rm

	user string
}

// Store is the folder of all volumes. A volume is made by Create or by the first
// Use, filled from an image by Populate, and removed when nobody refers to it. One
// whose options name a file system has that mounted on _data by the first container
// that starts (Mount) and unmounted by the last that ends (Unmount).
//
//	<root>/<name>/_data         the volume; containers bind it
//	<root>/<name>/volume.json   the record, with its version
//	<root>/<name>/populating    there while Populate copies, names what to: Open empties that
//	<root>/.<random>            being made or deleted: Open deletes it
//
// The directory's name is the volume's, whatever its record says.
type Store struct {
	root string
	work sync.WaitGroup

	mu   sync.Mutex
	vols map[string]*entry
}

// entry is a volume with what changes; guarded by Store.mu except where it says otherwise.
type entry struct {
	v        Volume
	users    map[string]bool
	populate sync.Mutex // one copy at a time
	readers  int        // clones and exports under way

	mounting sync.Mutex      // held over mount(2), which may wait for a server
	mounted  map[string]bool // by mounting: the containers that run with it
}

func newEntry(v Volume) *entry {
	return &entry{v: v, users: map[string]bool{}, mounted: map[string]bool{}}
}

// record is volume.json.
type record struct {
	Version int `json:"version"`
	Volume
}

const (
	recordVersion = 1
	recordFile    = "volume.json"
	dataDir       = "_data"
	marker        = "populating"
)

// Open opens the store, making it when it is new, and removes what is half-made.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open volumes: %w", err)
	}
	// A container's root may leave set-user-ID programs here, and files that all may read
	// who are inside: no other user of the machine gets at them (CVE-2021-41091).
	if err := os.Chmod(root, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open volumes: %w", err)
	}
	es, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("cannot open volumes: %w", err)
	}
	s := &Store{root: root, vols: map[string]*entry{}}
	for _, e := range es {
		dir := filepath.Join(root, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			s.delete(dir)
			continue
		}
		v, err := read(dir)
		if err != nil {
			slog.Warn("volume is unreadable and left alone", "dir", dir, "error", err)
			continue
		}
		s.vols[v.Name] = newEntry(v)
	}
	return s, nil
}

func read(dir string) (Volume, error) {
	v, err := readRecord(dir)
	if err != nil {
		return v, err
	}
	return v, unfinished(dir)
}

func readRecord(dir string) (Volume, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return Volume{}, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Volume{}, err
	}
	if r.Version != recordVersion {
		return Volume{}, fmt.Errorf("record of version %d", r.Version)
	}
	r.Name = filepath.Base(dir)
	r.Mountpoint = filepath.Join(dir, dataDir)
	return r.Volume, nil
}

// unfinished empties a volume whose first copy was interrupted.
func unfinished(dir string) error {
	m := filepath.Join(dir, marker)
	sub, err := os.ReadFile(m)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := empty(filepath.Join(dir, dataDir), string(sub)); err != nil {
		return err
	}
	return os.Remove(m)
}

func (s *Store) path(name string) string { return filepath.Join(s.root, name) }

// Close waits for removals in the background.
func (s *Store) Close() error {
	s.work.Wait()
	return nil
}

// Create makes a volume. One that is there already is returned as it is.
func (s *Store) Create(r Request) (*Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, made, err := s.create(r)
	if err != nil {
		return nil, err
	}
	return e.made(made), nil
}

// create makes or finds a volume; the caller holds mu.
func (s *Store) create(r Request) (e *entry, made bool, err error) {
	labels, user := r.Labels, ""
	if r.Name == "" {
		user = r.user
		var b [32]byte
		rand.Read(b[:])
		r.Name = hex.EncodeToString(b[:])
		labels = maps.Clone(labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[AnonymousLabel] = ""
	}
	if err := validate(r); err != nil {
		return nil, false, err
	}
	if e := s.vols[r.Name]; e != nil {
		return e, false, nil
	}
	v := s.newVolume(r, labels)
	v.For = user
	if err := s.write(v, !r.Volatile, nil); err != nil {
		return nil, false, fmt.Errorf("cannot create volume %s: %w", r.Name, err)
	}
	e = newEntry(v)
	s.vols[v.Name] = e
	return e, true, nil
}

func (s *Store) newVolume(r Request, labels map[string]string) Volume {
	return Volume{Name: r.Name, Driver: "local", Options: r.Options, Labels: labels, CreatedAt: time.Now().UTC(), Mountpoint: filepath.Join(s.root, r.Name, dataDir)}
}

func (e *entry) view() *Volume {
	v := e.v
	v.Users = slices.Sorted(maps.Keys(e.users))
	return &v
}

// made is view for who has asked for the volume.
func (e *entry) made(now bool) *Volume {
	v := e.view()
	v.New = now
	return v
}

// Get finds a volume by its name.
func (s *Store) Get(name string) (*Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.vols[name]
	if e == nil {
		return nil, notFound(name)
	}
	return e.view(), nil
}

func notFound(name string) error {
	return fault.New(fault.NotFound, "get %s: no such volume", name)
}

// List returns all volumes by name.
func (s *Store) List() []*Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	var vs []*Volume
	for _, name := range slices.Sorted(maps.Keys(s.vols)) {
		vs = append(vs, s.vols[name].view())
	}
	return vs
}

// Remove removes a volume that no container refers to. force: it may be missing.
func (s *Store) Remove(name string, force bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.vols[name]
	if e == nil {
		if force {
			return nil
		}
		return notFound(name)
	}
	if err := e.free("remove"); err != nil {
		return err
	}
	if !e.v.needsMount() && e.v.Options["size"] != "" {
		if err := quota.Clear(e.v.Mountpoint); err != nil {
			slog.Warn("cannot clear the limit of a removed volume", "volume", name, "error", err)
		}
	}
	trash := filepath.Join(s.root, "."+rand.Text())
	if err := os.Rename(filepath.Join(s.root, name), trash); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove volume %s: %w", name, err)
	}
	if err := atomicfile.SyncDir(s.root); err != nil {
		return fmt.Errorf("cannot remove volume %s: %w", name, err)
	}
	delete(s.vols, name)
	if err := failpoint.Hit(failpoint.VolumeTrashed); err != nil {
		return err
	}
	s.delete(trash)
	return nil
}

// free refuses to remove or rename a volume that somebody needs, and unmounts it.
func (e *entry) free(what string) error {
	name := e.v.Name
	switch {
	case len(e.users) > 0:
		return fault.New(fault.Conflict, "%s %s: volume is in use - [%s]", what, name, strings.Join(slices.Sorted(maps.Keys(e.users)), ", "))
	case e.readers > 0:
		return fault.New(fault.Conflict, "%s %s: volume is being cloned or exported", what, name)
	}
	if !e.v.needsMount() {
		return nil
	}
	// Nobody runs with it, but what is mounted must never be deleted with the volume.
	unmount(e.v.Mountpoint)
	if is, err := isMounted(e.v.Mountpoint); err != nil || is {
		return fault.New(fault.Conflict, "%s %s: cannot unmount %s", what, name, e.v.Mountpoint)
	}
	return nil
}

func (s *Store) delete(dir string) {
	s.work.Go(func() {
		if err := tree.Remove(dir); err != nil {
			slog.Warn("cannot delete removed volume; the next start tries again", "dir", dir, "error", err)
		}
	})
}

// Use makes the volume if need be and notes that the container refers to it. The
// reference lives in memory: after a restart containers say Use again.
func (s *Store) Use(r Request, container string) (*Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.user = container
	e, made, err := s.create(r)
	if err != nil {
		return nil, err
	}
	e.users[container] = true
	return e.made(made), nil
}

// Release drops the container's reference. One that is not there is no failure.
func (s *Store) Release(name, container string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.vols[name]; e != nil {
		delete(e.users, container)
	}
}
