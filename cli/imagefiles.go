package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/cli/options"
	"hoy/client"
)

func newSave(a *app) *cobra.Command {
	var output string
	platforms := options.NewListFlag()
	cmd := &cobra.Command{Use: "save [OPTIONS] IMAGE [IMAGE...]", Short: "Save one or more images to a tar archive (streamed to STDOUT by default)", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.toFile(output, func() (io.ReadCloser, error) { return c.ImageSave(ctx, args, platforms.Values()) })
		})}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "Write to this file, not to standard output")
	f.Var(platforms, "platform", "Save this platform only, os/arch[/variant]")
	return cmd
}

// historyRow is a step in the making of an image, as history shows it.
type historyRow struct {
	Comment, CreatedAt, CreatedBy, CreatedSince, ID, Size string
}

type historyFlags struct {
	human, noTrunc, quiet bool
	format                string
}

func newHistory(a *app) *cobra.Command {
	var o historyFlags
	platforms := options.NewListFlag()
	cmd := &cobra.Command{Use: "history [OPTIONS] IMAGE", Short: "Show the history of an image", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			steps, err := c.ImageHistory(ctx, args[0], platforms.Values())
			if err != nil {
				return err
			}
			return a.history(steps, o)
		})}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", "Format: table, 'table TEMPLATE', json, or a Go template")
	f.BoolVarP(&o.human, "human", "H", true, "Show sizes and dates as people read them")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten ids and commands")
	f.Var(platforms, "platform", "Show this platform's history, os/arch[/variant]")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Show ids only")
	return cmd
}

func (a *app) history(steps []image.HistoryResponseItem, o historyFlags) error {
	created := "CreatedSince"
	if !o.human {
		created = "CreatedAt"
	}
	text := o.format
	if o.quiet && (text == "" || text == "table") {
		text = "{{.ID}}"
	}
	p, err := a.printer(a.Out, text, format.Standard{Table: "{{.ID}}\t{{." + created + "}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", Heads: format.Heads{
		"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
	}})
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range steps {
		if err := p.Row(historyRowOf(&steps[i], now, o)); err != nil {
			return err
		}
	}
	return p.Flush()
}

func historyRowOf(h *image.HistoryResponseItem, now time.Time, o historyFlags) historyRow {
	at := time.Unix(h.Created, 0)
	r := historyRow{
		ID: h.ID, Comment: h.Comment, CreatedBy: strings.ReplaceAll(h.CreatedBy, "\t", " "), CreatedAt: at.Format(time.RFC3339),
		CreatedSince: units.HumanDuration(now.Sub(at)) + " ago", Size: units.HumanSizeWithPrecision(float64(h.Size), 3),
	}
	if at.Year() < 2000 {
		r.CreatedSince = "N/A"
	}
	if !o.human {
		r.CreatedSince, r.Size = r.CreatedAt, strconv.FormatInt(h.Size, 10)
	}
	if !o.noTrunc {
		r.ID, r.CreatedBy = shortID(h.ID), ellipsis(r.CreatedBy, 45)
	}
	return r
}

func newImagePrune(a *app) *cobra.Command {
	var all, force bool
	var filters filterFlag
	cmd := &cobra.Command{Use: "prune [OPTIONS]", Short: "Remove unused images", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			warning := "WARNING! This will remove all dangling images."
			if all {
				warning = "WARNING! This will remove all images without at least one container associated to them."
			}
			if !force {
				if err := a.confirm(warning); err != nil {
					return err
				}
			}
			f := a.pruneFilters(filters.f)
			if f["dangling"] == nil {
				f["dangling"] = []string{strconv.FormatBool(!all)}
			}
			report, err := c.ImagePrune(ctx, f)
			if err != nil {
				return err
			}
			a.deletedImages(report.ImagesDeleted)
			fmt.Fprintln(a.Out, "Total reclaimed space:", units.HumanSize(float64(report.SpaceReclaimed)))
			return nil
		})}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "Remove all images that no container uses, not only those without a name")
	f.Var(&filters, "filter", "Remove those only that a condition holds for, like until=24h")
	f.BoolVarP(&force, "force", "f", false, "Do not ask")
	return cmd
}

// deletedImages lists what was removed of images, if anything was.
func (a *app) deletedImages(list []image.DeleteResponse) {
	var lines []string
	for _, d := range list {
		if d.Untagged != "" {
			lines = append(lines, "untagged: "+d.Untagged)
		} else {
			lines = append(lines, "deleted: "+d.Deleted)
		}
	}
	a.deleted("Deleted Images:", lines)
}
