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
type usageRow struct{ Type, TotalCount, Active, Size, Reclaimable string }

func newSystemDf(a *app) *cobra.Command {
	var verbose bool
	var text string
	cmd := &cobra.Command{Use: "df [OPTIONS]", Short: "Show what images, containers, volumes and the build cache take on disk", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if verbose && text != "" && text != "table" {
				return errors.New("--verbose and --format exclude each other: --verbose has tables of its own")
			}
			u, err := c.DiskUsage(ctx)
			if err != nil {
				return err
			}
			if verbose {
				if err := a.usageTables(u); err != nil {
					return err
				}
				return a.wholeUsage(ctx, c)
			}
			return a.usageSums(u, text)
		})}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show each image, container, volume and record of the build cache")
	cmd.Flags().StringVar(&text, "format", "", "Format: table, 'table TEMPLATE', json, or a Go template")
	return cmd
}

func (a *app) usageSums(u *system.DiskUsage, text string) error {
	p, err := format.New(a.Out, text, "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}", format.Heads{
		"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
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
	return usageRow{what, strconv.FormatInt(total, 10), strconv.FormatInt(active, 10), humanSize(size), free}
}

func humanSize(n int64) string { return units.HumanSizeWithPrecision(float64(n), 4) }

// usageTables prints what each thing takes.
func (a *app) usageTables(u *system.DiskUsage) error {
	for i, print := range []func(*system.DiskUsage) error{a.usageOfImages, a.usageOfContainers, a.usageOfVolumes, a.usageOfBuildCache} {
		if i > 0 {
			fmt.Fprintln(a.Out)
		}
		if err := print(u); err != nil {
			return err
		}
	}
	return nil
}

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
	p, err := format.New(a.Out, "", "{{.Kind}}\t{{.Count}}\t{{.Size}}\t{{.Reclaimable}}\t{{.Remedy}}", format.Heads{
		"Kind": "KIND", "Count": "COUNT", "Size": "SIZE", "Reclaimable": "RECLAIMABLE", "Remedy": "BY",
	})
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

func (a *app) usageOfImages(u *system.DiskUsage) error {
	fmt.Fprint(a.Out, "Images space usage:\n\n")
	heads := format.Heads{}
	for _, h := range imageHeads {
		heads[h[0]] = h[1]
	}
	p, err := format.New(a.Out, "", "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}", heads)
	if err != nil || u.ImageUsage == nil {
		return err
	}
	for i := range u.ImageUsage.Items {
		for _, r := range imageRows(&u.ImageUsage.Items[i], time.Now(), false) {
			if err := p.Row(r); err != nil {
				return err
			}
		}
	}
	return p.Flush()
}

func (a *app) usageOfContainers(u *system.DiskUsage) error {
	fmt.Fprint(a.Out, "Containers space usage:\n\n")
	p, err := format.New(a.Out, "", "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}", format.Heads{
		"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE",
		"RunningFor": "CREATED", "Status": "STATUS", "Names": "NAMES",
	})
	if err != nil || u.ContainerUsage == nil {
		return err
	}
	for i := range u.ContainerUsage.Items {
		r := psRowOf(&u.ContainerUsage.Items[i], time.Now(), false)
		r.Size = humanSize(u.ContainerUsage.Items[i].SizeRw)
		if err := p.Row(r); err != nil {
			return err
		}
	}
	return p.Flush()
}

func (a *app) usageOfVolumes(u *system.DiskUsage) error {
	fmt.Fprint(a.Out, "Local Volumes space usage:\n\n")
	p, err := format.New(a.Out, "", "{{.Name}}\t{{.Links}}\t{{.Size}}", format.Heads{"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"})
	if err != nil || u.VolumeUsage == nil {
		return err
	}
	type row struct{ Name, Links, Size string }
	for _, v := range u.VolumeUsage.Items {
		r := row{v.Name, "N/A", "N/A"}
		if v.UsageData != nil {
			r.Links, r.Size = strconv.FormatInt(v.UsageData.RefCount, 10), humanSize(v.UsageData.Size)
		}
		if err := p.Row(r); err != nil {
			return err
		}
	}
	return p.Flush()
}
