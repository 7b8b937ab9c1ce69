package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/client"
)

// usageRow is a line of system df.
type usageRow struct{ Active, Reclaimable, Size, TotalCount, Type string }

func newSystemDf(a *app) *cobra.Command {
	var verbose bool
	var text string
	cmd := &cobra.Command{Use: "df [OPTIONS]", Short: "Show what images, containers, volumes and the build cache take on disk", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			u, err := c.DiskUsage(ctx)
			switch {
			case err != nil:
				return err
			case !verbose:
				return a.usageSums(u, text)
			case text != "" && text != "table":
				return a.usageDetails(u, text)
			}
			return errors.Join(a.usageTables(u), a.wholeUsage(ctx, c))
		})}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show each image, container, volume and record of the build cache")
	cmd.Flags().StringVar(&text, "format", "", "Format: table, 'table TEMPLATE', raw, json, or a Go template")
	return cmd
}

func (a *app) usageSums(u *system.DiskUsage, text string) error {
	p, err := a.printer(a.Out, text, format.Standard{
		Table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
		Raw:   "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n",
		Heads: format.Heads{"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"},
	})
	if err != nil {
		return err
	}
	var rows []usageRow
	if i := u.ImageUsage; i != nil {
		rows = append(rows, usageOf("Images", i.TotalCount, i.ActiveCount, i.TotalSize, i.Reclaimable))
	}
	if c := u.ContainerUsage; c != nil {
		rows = append(rows, usageOf("Containers", c.TotalCount, c.ActiveCount, c.TotalSize, c.Reclaimable))
	}
	if v := u.VolumeUsage; v != nil {
		rows = append(rows, usageOf("Local Volumes", v.TotalCount, v.ActiveCount, v.TotalSize, v.Reclaimable))
	}
	if b := u.BuildCacheUsage; b != nil {
		rows = append(rows, usageOf("Build Cache", b.TotalCount, b.ActiveCount, b.TotalSize, b.Reclaimable))
	}
	for _, r := range rows {
		if err := p.Row(r); err != nil {
			return err
		}
	}
	return p.Flush()
}

func usageOf(what string, total, active, size, reclaimable int64) usageRow {
	free := humanSize(reclaimable)
	if size > 0 && what != "Build Cache" {
		free += fmt.Sprintf(" (%d%%)", reclaimable*100/size)
	}
	return usageRow{strconv.FormatInt(active, 10), free, humanSize(size), strconv.FormatInt(total, 10), what}
}

func humanSize(n int64) string { return units.HumanSizeWithPrecision(float64(n), 4) }

// wholeUsage shows hoy's own account of everything below the data root. The other
// tables show sizes as docker does, of blobs and files; this one is disk blocks.
func (a *app) wholeUsage(ctx context.Context, c *client.Client) error {
	r, err := c.Disk(ctx)
	if client.StatusOf(err) == http.StatusNotFound {
		return nil // another engine
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "\nEverything below %s, in disk blocks:\n\n", r.Root)
	p, err := a.printer(a.Out, "", format.Standard{Table: "{{.Kind}}\t{{.Count}}\t{{.Size}}\t{{.Reclaimable}}\t{{.Remedy}}", Heads: format.Heads{
		"Kind": "KIND", "Count": "COUNT", "Size": "SIZE", "Reclaimable": "RECLAIMABLE", "Remedy": "BY",
	}})
	if err != nil {
		return err
	}
	type row struct{ Kind, Count, Size, Reclaimable, Remedy string }
	for _, l := range r.Lines {
		if l.Size == 0 && l.Count == 0 {
			continue
		}
		if err := p.Row(row{string(l.Kind), strconv.FormatInt(l.Count, 10), humanSize(l.Size), humanSize(l.Reclaimable), l.Remedy}); err != nil {
			return err
		}
	}
	if err := p.Row(row{"Total", "", humanSize(r.Size), humanSize(r.Reclaimable), ""}); err != nil {
		return err
	}
	if err := p.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "\nFree on the file system: %s\n", humanSize(r.Free))
	if r.Budget > 0 {
		fmt.Fprintf(a.Out, "Budget for images: %s\n", humanSize(r.Budget))
	}
	return nil
}

// usageDetails prints all rows by a template, as one object.
func (a *app) usageDetails(u *system.DiskUsage, text string) error {
	if text == "raw" {
		text = rawDetails
	}
	p, err := a.lines(text)
	if err != nil {
		return err
	}
	return p.Row(usageDetailsOf(u, true))
}

// rawDetails are all rows, a line for each field.
const rawDetails = `{{range .Images}}type: Image
` + rawImageDigest + `
{{end -}}
{{range .Containers}}type: Container
` + rawContainer + rawSize + `
{{end -}}
{{range .Volumes}}type: Volume
` + rawVolume + `
{{end -}}
{{range .BuildCache}}type: Build Cache
` + rawCache + `
{{end -}}`

// usageDetails are the rows of what takes space, as docker's templates name them.
type usageDetails struct {
	Images     []imageRow
	Containers []psRow
	Volumes    []volumeRow
	BuildCache []cacheRow
}

// usageDetailsOf makes rows, full with whole ids and commands. Of an image's names it has
// the first.
func usageDetailsOf(u *system.DiskUsage, full bool) usageDetails {
	d := usageDetails{[]imageRow{}, []psRow{}, []volumeRow{}, []cacheRow{}}
	now := time.Now()
	if u.ImageUsage != nil {
		for i := range u.ImageUsage.Items {
			d.Images = append(d.Images, imageRows(&u.ImageUsage.Items[i], now, full)[0])
		}
	}
	if u.ContainerUsage != nil {
		for _, c := range u.ContainerUsage.Items {
			c.SizeRootFs = 0 // what it has of its image is the image's
			d.Containers = append(d.Containers, psRowOf(&c, now, full))
		}
	}
	if u.VolumeUsage != nil {
		for _, v := range u.VolumeUsage.Items {
			r := volumeRowOf(v)
			if v.UsageData != nil {
				r.Links, r.Size = strconv.FormatInt(v.UsageData.RefCount, 10), humanSize(v.UsageData.Size)
			}
			d.Volumes = append(d.Volumes, r)
		}
	}
	if u.BuildCacheUsage != nil {
		d.BuildCache = cacheRows(u.BuildCacheUsage.Items, now)
	}
	return d
}

// usageTables prints a table for each kind.
func (a *app) usageTables(u *system.DiskUsage) error {
	d := usageDetailsOf(u, false)
	var cache int64
	if u.BuildCacheUsage != nil {
		cache = u.BuildCacheUsage.TotalSize
	}
	for i := range d.BuildCache {
		d.BuildCache[i].mark()
	}
	return errors.Join(
		table(a, "Images space usage:", "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}", heads(imageHeads[:]), d.Images),
		table(a, "\nContainers space usage:", "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}", heads(psHeads[:]), d.Containers),
		table(a, "\nLocal Volumes space usage:", "{{.Name}}\t{{.Links}}\t{{.Size}}", volumeHeads, d.Volumes),
		table(a, "\nBuild cache usage: "+humanSize(cache), "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}", cacheHeads, d.BuildCache))
}

// table prints rows, below a title if it has one.
func table[T any](a *app, title, columns string, h format.Heads, rows []T) error {
	if title != "" {
		fmt.Fprintf(a.Out, "%s\n\n", title)
	}
	p, err := a.printer(a.Out, "", format.Standard{Table: columns, Heads: h})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := p.Row(r); err != nil {
			return err
		}
	}
	return p.Flush()
}
