package daemon

import (
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"

	"hoy/image"
)

// keepBudget has the image store keep below --disk-budget, as it is at the time.
func (d *Daemon) keepBudget() {
	d.images.store.KeepBudget(image.Budget{
		Bytes: func() int64 { return d.options().DiskBudget },
		Uses:  d.containers.Uses,
		Removed: func(im *image.Image, what []apiimage.DeleteResponse, freed int64) {
			d.images.removed(what)
			d.log.Info("removed an image that nothing uses, to keep to the disk budget",
				"image", im.ID, "names", im.RepoTags, "freed", units.HumanSize(float64(freed)), "budget", units.BytesSize(float64(d.options().DiskBudget)))
		},
	})
}

// removed publishes the events of what a prune has removed.
func (i images) removed(what []apiimage.DeleteResponse) {
	for _, r := range what {
		if r.Untagged != "" {
			i.event(events.ActionUnTag, r.Untagged, r.Untagged, nil)
		} else {
			i.event(events.ActionDelete, r.Deleted, r.Deleted, nil)
		}
	}
}
