// Package snapshot keeps containers' writable layers and mounts them over images.
package snapshot

import (
	"errors"
	"os"
)

// Layers is the folder of all writable layers.
type Layers struct{ root string }

// Layer is the writable layer of one container.
type Layer struct{ dir string }

// Open opens the folder, making it when it is new, and empties its trash.
func Open(root string) (*Layers, error) { return nil, errors.ErrUnsupported }

// Close waits for removals in the background.
func (l *Layers) Close() error { return nil }

// Create makes an empty layer. durable: it is on disk when Create returns.
func (l *Layers) Create(id string, durable bool) (Layer, error) {
	return Layer{}, errors.ErrUnsupported
}

// Get returns the layer with this id, which Create has made.
func (l *Layers) Get(id string) Layer { return Layer{} }

// Mount mounts the layer over the image's, given top first, as a detached mount.
// volatile: nothing of it need survive a crash of the machine.
func (l Layer) Mount(lowers []string, volatile bool, userns *os.File) (*os.File, error) {
	return nil, errors.ErrUnsupported
}

// Usage counts the layer: bytes on disk, hard links once, and entries.
func (l Layer) Usage() (size, entries int64, err error) { return 0, 0, errors.ErrUnsupported }

// Remove takes the layer away; its files go in the background.
func (l *Layers) Remove(id string) error { return errors.ErrUnsupported }

// List returns the ids of all layers.
func (l *Layers) List() ([]string, error) { return nil, errors.ErrUnsupported }
