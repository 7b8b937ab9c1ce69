package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"

	"hoy/cli/format"
	"hoy/client"
)

// treeRow is an image, or one of its platforms, as images --tree shows it.
type treeRow struct {
	Image, ID, DiskUsage, ContentSize, Extra string
}

// tree shows each image with its platforms.
func (a *app) tree(ctx context.Context, c *client.Client, o *imagesFlags) error {
	switch {
	case o.quiet:
		return fmt.Errorf("--quiet is not yet supported with --tree")
	case o.noTrunc, o.digests:
		return fmt.Errorf("--no-trunc and --digests are not yet supported with --tree")
	case o.format != "":
		return fmt.Errorf("--format is not yet supported with --tree")
	}
	list, err := c.ImageManifests(ctx, o.all, o.filters.f)
	if err != nil {
		return err
	}
	p, err := a.printer(a.Out, "", format.Standard{Table: "{{.Image}}\t{{.ID}}\t{{.DiskUsage}}\t{{.ContentSize}}\t{{.Extra}}", Heads: format.Heads{
		"Image": "IMAGE", "ID": "ID", "DiskUsage": "DISK USAGE", "ContentSize": "CONTENT SIZE", "Extra": "EXTRA",
	}})
	if err != nil {
		return err
	}
	for i := range list {
		if !o.all && len(list[i].RepoTags) == 0 {
			continue
		}
		for _, r := range treeRows(&list[i]) {
			if err := p.Row(r); err != nil {
				return err
			}
		}
	}
	return p.Flush()
}

func treeRows(s *image.Summary) []treeRow {
	size := func(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }
	top := treeRow{Image: strings.Join(s.RepoTags, ", "), ID: shortID(s.ID), DiskUsage: size(s.Size), Extra: inUse(s.Containers > 0)}
	if top.Image == "" {
		top.Image = "<untagged>"
	}
	rows, content := []treeRow{top}, int64(0)
	for _, m := range s.Manifests {
		content += m.Size.Content
		if m.Kind != image.ManifestKindImage {
			continue
		}
		name := m.ImageData.Platform.OS + "/" + m.ImageData.Platform.Architecture
		if v := m.ImageData.Platform.Variant; v != "" {
			name += "/" + v
		}
		rows = append(rows, treeRow{Image: "├─ " + name, ID: shortID(m.ID), DiskUsage: size(m.Size.Total), ContentSize: size(m.Size.Content), Extra: inUse(len(m.ImageData.Containers) > 0)})
	}
	if last := len(rows) - 1; last > 0 {
		rows[last].Image = strings.Replace(rows[last].Image, "├", "└", 1)
	}
	rows[0].ContentSize = size(content)
	return rows
}

// inUse is docker's mark of what containers use.
func inUse(yes bool) string {
	if yes {
		return "U"
	}
	return ""
}
