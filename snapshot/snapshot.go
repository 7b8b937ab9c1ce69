// Package snapshot keeps containers' writable layers and mounts them over images.
package snapshot

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/atomicfile"
	"hoy/lib/cleanup"
	"hoy/lib/fault"
	"hoy/linux/mount"
	"hoy/linux/quota"
	"hoy/linux/tree"
)

// Layers is the folder of all writable layers.
//
// A layer begins empty, is mounted over an image's layers whenever its container
// starts, and keeps what the container has changed until it is removed:
//
//	l, err := layers.Create(id, true, 0)
//	root, err := l.Mount(image.Layers, false, nil) // a detached overlay mount
//	...
//	err = layers.Remove(id)
//
// On disk:
//
//	<root>/<id>/upper     what the container changed, in overlayfs's form
//	<root>/<id>/work      overlayfs's own
//	<root>/.points        the lowest layer of every mount (see points.go)
//	<root>/.trash/<n>     removed layers whose files are still being deleted
type Layers struct {
	root  string
	trash sync.WaitGroup
	slots chan struct{} // bounds the deletions at work
}

// Layer is the writable layer of one container.
type Layer struct {
	dir   string
	label string
}

// Labelled returns the layer so that Mount gives all files the SELinux label; "" leaves
// them theirs.
func (l Layer) Labelled(label string) Layer {
	l.label = label
	return l
}

const (
	trashDir = ".trash"
	deleters = 2
	// grace keeps a deletion from taking the processor and the journal away from
	// whoever waits for the container's end.
	grace = 20 * time.Millisecond
)

// Open opens the folder, making it when it is new, and empties its trash in the
// background.
func Open(root string) (*Layers, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	trash := filepath.Join(root, trashDir)
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open layers: %w", err)
	}
	left, err := os.ReadDir(trash)
	if err != nil {
		return nil, fmt.Errorf("cannot open layers: %w", err)
	}
	if err := makePoints(filepath.Join(root, pointsDir)); err != nil {
		return nil, fmt.Errorf("cannot open layers: %w", err)
	}
	l := &Layers{root: root, slots: make(chan struct{}, deleters)}
	for _, e := range left {
		l.delete(filepath.Join(trash, e.Name()))
	}
	return l, nil
}

// Close waits for removals in the background.
func (l *Layers) Close() error {
	l.trash.Wait()
	return nil
}

// Create makes an empty layer. durable: it is on disk when Create returns. size bounds
// what it may hold, in bytes, where the file system has project quotas; 0 does not. The
// root directory gets mode 0755 and belongs to root, as those of images.
func (l *Layers) Create(id string, durable bool, size int64) (Layer, error) {
	if err := valid(id); err != nil {
		return Layer{}, err
	}
	dir := filepath.Join(l.root, id)
	if err := os.Mkdir(dir, 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return Layer{}, fault.New(fault.Conflict, "layer %s is there already", id)
		}
		return Layer{}, fmt.Errorf("cannot create layer: %w", err)
	}
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { os.RemoveAll(dir) })
	if size > 0 {
		// Now: both directories below inherit it, and overlayfs renames between them.
		if err := quota.Limit(dir, size); err != nil {
			return Layer{}, fmt.Errorf("cannot limit a container's storage (--storage-opt size): %w", err)
		}
		undo.Add(func() { quota.Clear(dir) })
	}
	upper := filepath.Join(dir, "upper")
	if err := os.Mkdir(upper, 0o755); err != nil {
		return Layer{}, fmt.Errorf("cannot create layer: %w", err)
	}
	// The umask is the process's, the mode is the container's root directory's.
	if err := os.Chmod(upper, 0o755); err != nil {
		return Layer{}, fmt.Errorf("cannot create layer: %w", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "work"), 0o700); err != nil {
		return Layer{}, fmt.Errorf("cannot create layer: %w", err)
	}
	if durable {
		for _, d := range []string{dir, l.root} {
			if err := atomicfile.SyncDir(d); err != nil {
				return Layer{}, fmt.Errorf("cannot create layer: %w", err)
			}
		}
	}
	undo.Release()
	return Layer{dir: dir}, nil
}

// valid refuses ids that are no single, visible file name.
func valid(id string) error {
	if id == "" || id[0] == '.' || id != filepath.Base(id) {
		return fault.New(fault.Invalid, "%q is no layer id", id)
	}
	return nil
}

// Get returns the layer with this id, which Create has made.
func (l *Layers) Get(id string) Layer { return Layer{dir: filepath.Join(l.root, filepath.Base(id))} }

// Mount mounts the layer over the image's, given top first, as a detached mount. Below
// all of them are the mount points that every container needs.
// volatile: nothing of it need survive a crash of the machine. The image's root
// directory decides the mode and owner of the container's: they are copied to the
// layer at its first mount.
func (l Layer) Mount(lowers []string, volatile bool, userns *os.File) (*os.File, error) {
	if len(lowers) > 0 {
		if err := l.likeRoot(lowers[0]); err != nil {
			return nil, fmt.Errorf("cannot mount layer: %w", err)
		}
	}
	work := filepath.Join(l.dir, "work")
	// Overlayfs refuses a work directory that a volatile mount left behind.
	if err := os.RemoveAll(filepath.Join(work, "work", "incompat")); err != nil {
		return nil, fmt.Errorf("cannot mount layer: %w", err)
	}
	points := filepath.Join(filepath.Dir(l.dir), pointsDir)
	return mount.Overlay(mount.OverlayConfig{
		Lower: append(slices.Clip(lowers), points), Upper: filepath.Join(l.dir, "upper"), Work: work,
		Volatile: volatile, UserNS: userns, Context: l.label,
	})
}

// likeRoot gives the layer's root directory the image's mode and owner, which the
// overlay would otherwise hide. Later changes by the container stay: an upper
// directory that overlayfs has used has its attribute, or differs from Create's.
func (l Layer) likeRoot(lower string) error {
	var up, low unix.Stat_t
	upper := filepath.Join(l.dir, "upper")
	if err := unix.Stat(lower, &low); err != nil {
		return &os.PathError{Op: "stat", Path: lower, Err: err}
	}
	if low.Mode&0o7777 == 0o755 && low.Uid == 0 && low.Gid == 0 {
		return nil
	}
	mounted := filepath.Join(l.dir, "work", "work") // overlayfs makes it at the first mount
	if err := unix.Stat(mounted, &up); err == nil {
		return nil
	}
	if err := os.Chown(upper, int(low.Uid), int(low.Gid)); err != nil {
		return err
	}
	return unix.Chmod(upper, low.Mode&0o7777)
}

// Upper is the directory with what the container has changed.
func (l Layer) Upper() string { return filepath.Join(l.dir, "upper") }

// Remove takes the layer away; its files go in the background. A layer that is not
// there is no failure.
func (l *Layers) Remove(id string) error {
	if err := valid(id); err != nil {
		return err
	}
	if err := quota.Clear(filepath.Join(l.root, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("cannot clear the limit of a removed layer", "layer", id, "error", err)
	}
	trash := filepath.Join(l.root, trashDir, rand.Text())
	err := os.Rename(filepath.Join(l.root, id), trash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot remove layer: %w", err)
	}
	l.delete(trash)
	return nil
}

func (l *Layers) delete(dir string) {
	l.trash.Go(func() {
		time.Sleep(grace)
		l.slots <- struct{}{}
		defer func() { <-l.slots }()
		if err := tree.Remove(dir); err != nil {
			slog.Warn("cannot delete removed layer; the next start tries again", "dir", dir, "error", err)
		}
	})
}

// List returns the ids of all layers.
func (l *Layers) List() ([]string, error) {
	es, err := os.ReadDir(l.root)
	if err != nil {
		return nil, fmt.Errorf("cannot list layers: %w", err)
	}
	var ids []string
	for _, e := range es {
		if e.IsDir() && valid(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}
