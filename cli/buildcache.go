package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/build"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/cli/options"
	"hoy/client"
)

func newBuilderPrune(a *app) *cobra.Command {
	var o client.BuildPruneOptions
	var force bool
	var filters filterFlag
	var reserved, most, free options.Size
	cmd := &cobra.Command{Use: "prune [OPTIONS]", Short: "Remove build cache", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if !force {
				warning := "WARNING! This will remove all dangling build cache."
				if o.All {
					warning = "WARNING! This will remove all build cache."
				}
				if err := a.confirm(warning); err != nil {
					return err
				}
			}
			o.Filters, o.Reserved, o.MaxUsed, o.MinFree = a.pruneFilters(filters.f), int64(reserved), int64(most), int64(free)
			r, err := c.BuildPrune(ctx, o)
			if err != nil {
				return err
			}
			a.deleted("Deleted build cache objects:", r.CachesDeleted)
			fmt.Fprintln(a.Out, "Total reclaimed space:", units.HumanSize(float64(r.SpaceReclaimed)))
			return nil
		})}
	f := cmd.Flags()
	f.BoolVarP(&o.All, "all", "a", false, "Remove what images and frontends need, too")
	f.Var(&filters, "filter", "Remove that only that a condition holds for, like until=24h")
	f.BoolVarP(&force, "force", "f", false, "Do not ask")
	f.Var(&reserved, "reserved-space", "Keep this much")
	f.Var(&reserved, "keep-storage", "Former name of --reserved-space")
	f.Var(&most, "max-used-space", "Remove the oldest until no more than this is left")
	f.Var(&free, "min-free-space", "Remove the oldest until this much is free on the disk")
	return cmd
}

// cacheRow is a record of the build cache; its fields are docker's, by name.
type cacheRow struct {
	CacheType, CreatedAt, CreatedSince, Description, ID, InUse, LastUsedAt, LastUsedSince, Parent, Reclaimable, Shared, Size, UsageCount string
}

// rawCache is a record as "raw" shows it.
const rawCache = `build_cache_id: {{.ID}}
parent_id: {{.Parent}}
build_cache_type: {{.CacheType}}
description: {{.Description}}
created_at: {{.CreatedAt}}
created_since: {{.CreatedSince}}
last_used_at: {{.LastUsedAt}}
last_used_since: {{.LastUsedSince}}
usage_count: {{.UsageCount}}
in_use: {{.InUse}}
shared: {{.Shared}}
`

var cacheHeads = format.Heads{
	"ID": "CACHE ID", "Parent": "PARENT", "CacheType": "CACHE TYPE", "Size": "SIZE", "CreatedSince": "CREATED", "LastUsedSince": "LAST USED",
	"UsageCount": "USAGE", "InUse": "IN USE", "Shared": "SHARED", "Description": "DESCRIPTION", "Reclaimable": "RECLAIMABLE",
}

func cacheRowOf(r *build.CacheRecord, now time.Time) cacheRow {
	ago := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) + " ago" }
	row := cacheRow{
		ID: r.ID, Parent: strings.Join(r.Parents, ", "), CacheType: r.Type, Size: units.HumanSizeWithPrecision(float64(r.Size), 3), CreatedAt: r.CreatedAt.String(), CreatedSince: ago(r.CreatedAt),
		UsageCount: strconv.Itoa(r.UsageCount), InUse: strconv.FormatBool(r.InUse), Shared: strconv.FormatBool(r.Shared), Description: r.Description,
		Reclaimable: strconv.FormatBool(!r.InUse),
	}
	if r.LastUsedAt != nil {
		row.LastUsedAt, row.LastUsedSince = r.LastUsedAt.String(), ago(*r.LastUsedAt)
	}
	return row
}

// byUse puts what was used longest ago first.
func byUse(a, b build.CacheRecord) int {
	at := func(r build.CacheRecord) time.Time {
		if r.LastUsedAt == nil {
			return time.Time{}
		}
		return *r.LastUsedAt
	}
	if c := at(a).Compare(at(b)); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// cacheRows are the rows of records, what was used longest ago first.
func cacheRows(items []build.CacheRecord, now time.Time) []cacheRow {
	rows := []cacheRow{}
	items = slices.Clone(items)
	slices.SortFunc(items, byUse)
	for i := range items {
		rows = append(rows, cacheRowOf(&items[i], now))
	}
	return rows
}

// mark shortens the id, and marks what is in use.
func (r *cacheRow) mark() {
	r.ID = shortID(r.ID)
	if r.InUse == "true" {
		r.ID += "*"
	}
}

func newBuildxDu(a *app) *cobra.Command {
	return &cobra.Command{Use: "du", Short: "Show what the build cache takes on disk", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			u, err := c.DiskUsage(ctx)
			if err != nil {
				return err
			}
			b := u.BuildCacheUsage
			if b == nil {
				b = &build.DiskUsage{}
			}
			err = table(a, "", "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.Description}}", cacheHeads, cacheRows(b.Items, time.Now()))
			if err == nil {
				_, err = fmt.Fprintf(a.Out, "Reclaimable:\t%s\nTotal:\t\t%s\n", humanSize(b.Reclaimable), humanSize(b.TotalSize))
			}
			return err
		})}
}
