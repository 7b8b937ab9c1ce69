package container

import (
	"context"
	"fmt"
	"io"
	"os"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"hoy/image/pack"
	"hoy/lib/fault"
	"hoy/linux/mount"
)

// Export packs a container's root file system, without volumes and binds.
func (c *Containers) Export(ctx context.Context, ref string) (*Archive, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	if err := c.complete(k, "export"); err != nil {
		return nil, err
	}
	v, release, err := c.view(ctx, k)
	if err != nil {
		return nil, err
	}
	root, err := mount.OpenIn(v.base, "/", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		release()
		return nil, fmt.Errorf("error exporting container %s: %w", ref, err)
	}
	return &Archive{v: v, pack: c.exporter(k, v, root), close: func() { root.Close(); release() }}, nil
}

func (c *Containers) exporter(k *Container, v *view, root *os.File) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		if err := pack.Tree(ctx, w, root, pack.Options{IDs: v.ids}); err != nil {
			return err
		}
		c.event(k, events.ActionExport)
		return nil
	}
}

// complete refuses containers whose files may be half gone.
func (c *Containers) complete(k *Container, what string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.rec().State.Status == apicontainer.StateDead:
		return fault.New(fault.Conflict, "You cannot %s container %s which is Dead", what, k.id)
	case k.removing || c.index.gone(k):
		return fault.New(fault.Conflict, "You cannot %s container %s which is being removed", what, k.id)
	}
	return nil
}
