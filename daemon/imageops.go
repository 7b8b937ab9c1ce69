package daemon

import (
	"context"
	"io"

	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/server"
)

// Save writes images as one archive.
func (i images) Save(ctx context.Context, refs []string, platforms []ocispec.Platform, w io.Writer) error {
	return i.store.Save(ctx, refs, platforms, w, func(img *image.Image) {
		i.event(events.ActionSave, img.ID, img.ID, img.Config.Config.Labels)
	})
}

// History lists the steps by which an image was made.
func (i images) History(ctx context.Context, ref string, p *ocispec.Platform) ([]apiimage.HistoryResponseItem, error) {
	return i.store.History(ctx, ref, p)
}

// Attestations lists what is attested of an image.
func (i images) Attestations(ctx context.Context, ref string, o server.AttestationOptions) ([]apiimage.AttestationStatement, error) {
	return i.store.Attestations(ctx, ref, o.Platform, o.Types, o.Statements)
}

// Prune removes images that no container uses: those without a name, with the filter
// dangling=false all.
func (i images) Prune(ctx context.Context, f filters.Filters) (*apiimage.PruneReport, error) {
	if !i.pruning.TryLock() {
		return nil, fault.New(fault.Conflict, "a prune operation is already running")
	}
	defer i.pruning.Unlock()
	dangling, err := f.Bool("dangling", true)
	if err != nil {
		return nil, err
	}
	rest := filters.Filters{}
	for k, v := range f {
		if k != "dangling" {
			rest[k] = v
		}
	}
	filter, err := i.filter(ctx, rest)
	if err != nil {
		return nil, err
	}
	removed, size, err := i.store.Prune(ctx, image.PruneOptions{
		All: !dangling, Uses: i.containers.Uses(),
		Passes: func(img *image.Image, named string) bool {
			_, _, ok := filter.passes(img)
			return ok
		},
	})
	i.removed(removed)
	if err != nil {
		return nil, err
	}
	return &apiimage.PruneReport{ImagesDeleted: removed, SpaceReclaimed: uint64(size)}, nil
}
