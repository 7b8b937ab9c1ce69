package container

import (
	"context"
	"strconv"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/lib/fault"
	"hoy/lib/filters"
)

// Prune removes the containers that do not run and pass the filters label, label! and
// until. One that cannot be removed is left, and logged.
func (c *Containers) Prune(ctx context.Context, f filters.Filters) (*apicontainer.PruneReport, error) {
	if err := f.Validate("label", "label!", "until"); err != nil {
		return nil, err
	}
	until, err := f.Until(time.Now())
	if err != nil {
		return nil, err
	}
	if !c.pruning.TryLock() {
		return nil, fault.New(fault.Conflict, "a prune operation is already running")
	}
	defer c.pruning.Unlock()
	report := &apicontainer.PruneReport{}
	for _, k := range c.index.all() {
		rec := k.rec()
		if ctx.Err() != nil {
			break
		}
		if rec.isRunning() || !until.IsZero() && rec.Created.After(until) || !f.MatchLabels(rec.Config.Labels) {
			continue
		}
		size, _, err := c.sizes(ctx, rec)
		if err != nil {
			c.log.Debug("cannot tell the size of a container", "container", k.id, "error", err)
		}
		if err := c.Remove(ctx, k.id, RemoveOptions{}); err != nil {
			c.log.Warn("cannot prune a container", "container", k.id, "error", err)
			continue
		}
		report.ContainersDeleted = append(report.ContainersDeleted, k.id)
		report.SpaceReclaimed += uint64(max(size, 0))
	}
	c.o.Events.Publish(events.ContainerEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return report, nil
}
