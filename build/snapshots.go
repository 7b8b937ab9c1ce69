package build

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	containerdmount "github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/snapshot"
)

// snapshots is the image store's snapshotter with writable snapshots that are mounted
// volatile. The last close of any other overlay waits until all that was written is on
// disk, at each step; here that is done once, when an image is made of it.
type snapshots struct{ snapshot.Snapshotter }

func (s snapshots) Mounts(ctx context.Context, key string) (snapshot.Mountable, error) {
	m, err := s.Snapshotter.Mounts(ctx, key)
	if err != nil {
		return nil, err
	}
	return &volatile{m}, nil
}

// volatile is the mount of a writable snapshot.
type volatile struct{ snapshot.Mountable }

func (v *volatile) Mount() ([]containerdmount.Mount, func() error, error) {
	list, release, err := v.Mountable.Mount()
	if err != nil {
		return nil, nil, err
	}
	list = slices.Clone(list)
	for i, m := range list {
		if list[i].Options, err = volatileOptions(m); err != nil {
			release()
			return nil, nil, err
		}
	}
	return list, release, nil
}

// volatileOptions are those of an overlay with an upper layer, and others as they are.
// What is changed must be in the upper layer as it is: see mount.OverlayConfig.
func volatileOptions(m containerdmount.Mount) ([]string, error) {
	n := slices.IndexFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "workdir=") })
	if m.Type != "overlay" || n < 0 {
		return m.Options, nil
	}
	// The kernel refuses an overlay that was volatile before, as what it holds may have
	// been lost with the machine's power. A cache may.
	work := strings.TrimPrefix(m.Options[n], "workdir=")
	if err := os.RemoveAll(filepath.Join(work, "work/incompat")); err != nil {
		return nil, err
	}
	return append(slices.Clone(m.Options), "volatile", "redirect_dir=off", "metacopy=off"), nil
}

// unshared takes from a mount what BuildKit puts around it, so that several may have it at
// once: a mount of the overlay at a path of the host. Who has it alone can make the overlay
// itself, where nobody sees it and with a map of its owners. ok is false for anything else.
func unshared(m executor.MountableRef) (alone *volatile, ok bool) {
	for range 4 { // two are known
		if alone, ok = m.(*volatile); ok {
			return alone, true
		}
		v := reflect.Indirect(reflect.ValueOf(m))
		if v.Kind() != reflect.Struct {
			return nil, false
		}
		inner := v.FieldByName("Mountable") // embedded, and so has a name to be seen by
		if !inner.IsValid() || !inner.CanInterface() {
			return nil, false
		}
		if m, ok = inner.Interface().(executor.MountableRef); !ok {
			return nil, false
		}
	}
	return nil, false
}
