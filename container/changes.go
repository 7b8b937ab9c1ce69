package container

import (
	"context"

	apicontainer "github.com/moby/moby/api/types/container"
)

// Changes lists what a container's file system has otherwise than its image, running
// or not. It reads the writable layer and waits for nobody.
func (c *Containers) Changes(ctx context.Context, ref string) ([]apicontainer.FilesystemChange, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	changes, err := c.o.Layers.Get(k.id).Changes(ctx, k.rec().Image.Layers)
	if err != nil {
		return nil, err
	}
	var l []apicontainer.FilesystemChange // null in JSON where nothing is changed, as dockerd's
	for _, ch := range changes {
		l = append(l, apicontainer.FilesystemChange{Kind: apicontainer.ChangeType(ch.Kind), Path: ch.Path})
	}
	return l, nil
}
