package daemon

import (
	"context"
	"strconv"

	"github.com/moby/moby/api/types/events"
	apivolume "github.com/moby/moby/api/types/volume"

	"hoy/lib/fault"
	"hoy/lib/filters"
)

// Prune removes volumes that no container refers to: anonymous ones, and with
// all=true named ones too. Those that stand for something mounted stay, since nothing
// would be gained.
func (v volumes) Prune(ctx context.Context, f filters.Filters) (*apivolume.PruneReport, error) {
	if err := f.Validate("all", "label", "label!"); err != nil {
		return nil, err
	}
	all, err := f.Bool("all", false)
	if err != nil {
		return nil, err
	}
	if l := v.strangers(); len(l) > 0 {
		return nil, fault.New(fault.Conflict, "cannot prune volumes: container %s cannot be read, and may use them (the engine's log has why): remove volumes by name", l[0])
	}
	report := &apivolume.PruneReport{VolumesDeleted: []string{}}
	for _, one := range v.store.List() {
		if ctx.Err() != nil {
			break
		}
		if len(one.Users) > 0 || len(one.Options) > 0 || !all && !one.Anonymous() || !f.MatchLabels(one.Labels) {
			continue
		}
		size := one.Usage()
		if err := v.Remove(ctx, one.Name, false); err != nil {
			if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
				continue // somebody uses it now, or has removed it
			}
			return report, err
		}
		report.VolumesDeleted = append(report.VolumesDeleted, one.Name)
		report.SpaceReclaimed += uint64(size)
	}
	v.bus.Publish(events.VolumeEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return report, nil
}
