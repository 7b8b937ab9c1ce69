// Package volume keeps directories that outlive the containers which use them.
package volume

import (
	"errors"
	"os"
	"time"
)

// Volume is one volume, as it was when asked for.
type Volume struct {
	Name       string            `json:"name"`
	Driver     string            `json:"driver"`
	Options    map[string]string `json:"options,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Anonymous  bool              `json:"anonymous,omitempty"`
	CreatedAt  time.Time         `json:"createdAt"`
	Mountpoint string            `json:"-"`
	Users      []string          `json:"-"` // containers that refer to it
}

// Request is a volume to be made. The zero value asks for an anonymous one.
type Request struct {
	Name    string // "": 64 hexadecimal digits
	Driver  string // "" or "local"
	Options map[string]string
	Labels  map[string]string
}

// Store is the folder of all volumes.
type Store struct{}

// Open opens the store, making it when it is new, and removes what is half-made.
func Open(root string) (*Store, error) { return nil, errors.ErrUnsupported }

// Close waits for removals in the background.
func (s *Store) Close() error { return nil }

// Create makes a volume. One that is there already is returned as it is when it
// has the same driver and options.
func (s *Store) Create(r Request) (*Volume, error) { return nil, errors.ErrUnsupported }

// Get finds a volume by its name.
func (s *Store) Get(name string) (*Volume, error) { return nil, errors.ErrUnsupported }

// List returns all volumes by name.
func (s *Store) List() []*Volume { return nil }

// Remove removes a volume that no container refers to. force: it may be missing.
func (s *Store) Remove(name string, force bool) error { return errors.ErrUnsupported }

// Use makes the volume if need be and notes that the container refers to it. The
// reference lives in memory: after a restart containers say Use again.
func (s *Store) Use(r Request, container string) (*Volume, error) { return nil, errors.ErrUnsupported }

// Release drops the container's reference.
func (s *Store) Release(name, container string) {}

// Populate copies the tree at path inside root, a container's root file system,
// into the volume if that is empty, as docker does at a volume's first use.
// A path that is missing in root is no failure.
func (s *Store) Populate(name string, root *os.File, path string) error { return errors.ErrUnsupported }
