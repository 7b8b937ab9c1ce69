package build

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	control "github.com/moby/buildkit/api/services/control"
	apibuild "github.com/moby/moby/api/types/build"
	"google.golang.org/grpc/metadata"

	"hoy/lib/fault"
	"hoy/lib/filters"
)

// Prune removes cache that nothing uses, and tells what. Filters are docker's: until (or
// unused-for), id, parent, type, description, inuse, shared, private, each with one value.
// Cache has no labels: label chooses nothing of it, and label! all.
func (b *Builder) Prune(ctx context.Context, o PruneOptions) (*apibuild.CachePruneReport, error) {
	q, err := pruneRequest(o, time.Now())
	if err != nil {
		return nil, err
	}
	report := &apibuild.CachePruneReport{}
	if !b.used() || len(o.Filters["label"]) > 0 {
		return report, nil
	}
	c, err := b.control(ctx)
	if err != nil {
		return nil, err
	}
	s := &pruneStream{ctx: ctx, report: report}
	if err := c.Prune(q, s); err != nil {
		return nil, err
	}
	return report, nil
}

// pruneRequest translates the options at a time.
func pruneRequest(o PruneOptions, now time.Time) (*control.PruneRequest, error) {
	q := &control.PruneRequest{All: o.All, ReservedSpace: o.Reserved, MaxUsedSpace: o.MaxUsed, MinFreeSpace: o.MinFree}
	var chosen []string
	for key, values := range o.Filters {
		if key == "label" || key == "label!" {
			continue
		}
		if len(values) > 1 {
			return nil, fault.New(fault.Invalid, "filters expect only one value: %s has %d", key, len(values))
		}
		switch key {
		case "until", "unused-for":
			if len(o.Filters["until"])+len(o.Filters["unused-for"]) > 1 {
				return nil, fault.New(fault.Invalid, `conflicting filters: "until" and "unused-for"`)
			}
			since, err := filters.ParseTime(values[0], now)
			if err != nil {
				return nil, fault.New(fault.Invalid, "%q filter expects a duration (e.g., '24h') or a timestamp: %w", key, err)
			}
			q.KeepDuration = int64(now.Sub(since))
		case "id":
			chosen = append(chosen, "id~="+values[0])
		default:
			if len(values) == 0 || values[0] == "" {
				chosen = append(chosen, key)
			} else {
				chosen = append(chosen, key+"=="+values[0])
			}
		}
	}
	if len(chosen) > 0 {
		q.Filter = []string{strings.Join(chosen, ",")}
	}
	return q, nil
}

// pruneStream is the server's end of Prune without a connection.
type pruneStream struct {
	control.Control_PruneServer
	ctx context.Context

	mu     sync.Mutex
	report *apibuild.CachePruneReport
}

func (p *pruneStream) Context() context.Context          { return p.ctx }
func (p *pruneStream) SetHeader(metadata.MD) error       { return nil }
func (p *pruneStream) SendHeader(metadata.MD) error      { return nil }
func (p *pruneStream) Send(r *control.UsageRecord) error { return p.SendMsg(r) }

func (p *pruneStream) SendMsg(m any) error {
	r := m.(*control.UsageRecord)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.CachesDeleted = append(p.report.CachesDeleted, r.ID)
	p.report.SpaceReclaimed += uint64(max(r.Size, 0))
	return nil
}

// DiskUsage measures the cache; a builder that was never used has none.
func (b *Builder) DiskUsage(ctx context.Context, items bool) (*apibuild.DiskUsage, error) {
	u := &apibuild.DiskUsage{}
	if !b.used() {
		return u, nil
	}
	c, err := b.control(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := c.DiskUsage(ctx, &control.DiskUsageRequest{})
	if err != nil {
		return nil, err
	}
	for _, r := range resp.Record {
		u.TotalCount++
		u.TotalSize += r.Size
		switch {
		case r.InUse:
			u.ActiveCount++
		case !r.Shared:
			u.Reclaimable += r.Size
		}
		if items {
			u.Items = append(u.Items, record(r))
		}
	}
	return u, nil
}

func record(r *control.UsageRecord) apibuild.CacheRecord {
	c := apibuild.CacheRecord{
		ID: r.ID, Parents: r.Parents, Type: r.RecordType, Description: r.Description,
		InUse: r.InUse, Shared: r.Shared, Size: r.Size, UsageCount: int(r.UsageCount),
	}
	if r.CreatedAt != nil {
		c.CreatedAt = r.CreatedAt.AsTime()
	}
	if r.LastUsedAt != nil {
		t := r.LastUsedAt.AsTime()
		c.LastUsedAt = &t
	}
	return c
}

// used reports whether there is a cache: a builder that nobody has used need not be
// opened to say that it is empty.
func (b *Builder) used() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened != nil {
		return true
	}
	_, err := os.Stat(b.o.Root)
	return err == nil
}
