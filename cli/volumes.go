package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fvbommel/sortorder"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/cli/options"
	"hoy/client"
)

// listFlags are the flags that listings of simple objects share.
type listFlags struct {
	quiet, noTrunc bool
	format         string
	filters        filterFlag
}

func (l *listFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.VarP(&l.filters, "filter", "f", "Show those only that a condition holds for, like driver=bridge")
	f.StringVar(&l.format, "format", "", "Format: table, 'table TEMPLATE', raw, json, or a Go template")
}

// printer is the printer of a listing whose --quiet shows one field, named or not. usual
// is config.json's format.
func (l *listFlags) printer(a *app, std format.Standard, quiet, rawQuiet, usual string) (*format.Printer, error) {
	text := l.format
	switch {
	case l.quiet && (text == "" || text == "table"):
		text = quiet
	case l.quiet:
		std.Raw = rawQuiet
	case text == "":
		text = usual
	}
	return a.printer(a.Out, text, std)
}

// printer is a printer of what the user's format says, which keeps control characters
// from a terminal: containers and images have words in what is listed.
func (a *app) printer(out io.Writer, text string, std format.Standard) (*format.Printer, error) {
	return format.New(out, text, std, isTerminal(a.Out))
}

// lines is the same for what has no table.
func (a *app) lines(text string) (*format.Printer, error) {
	return format.Lines(a.Out, text, isTerminal(a.Out))
}

type volumeRow struct {
	Availability, Driver, Group, Labels, Links, Mountpoint, Name, Scope, Size, Status string

	labels map[string]string
}

// Label returns one label.
func (r volumeRow) Label(name string) string { return r.labels[name] }

const rawVolume = "name: {{.Name}}\ndriver: {{.Driver}}\n"

var volumeHeads = format.Heads{"Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Labels": "LABELS", "Mountpoint": "MOUNTPOINT", "Links": "LINKS", "Size": "SIZE", "Status": "STATUS", "Group": "GROUP", "Availability": "AVAILABILITY"}

func volumeRowOf(v volume.Volume) volumeRow {
	return volumeRow{"N/A", v.Driver, "N/A", labelList(v.Labels), "N/A", v.Mountpoint, v.Name, v.Scope, "N/A", "N/A", v.Labels}
}

func newVolumeLs(a *app) *cobra.Command {
	var l listFlags
	var cluster bool
	cmd := &cobra.Command{Use: "ls [OPTIONS]", Short: "List volumes", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if cluster {
				return errors.New("volumes of a cluster (--cluster) are not built yet")
			}
			r, err := c.VolumeList(ctx, l.filters.f)
			if err != nil {
				return err
			}
			for _, w := range r.Warnings {
				fmt.Fprintln(a.Err, "WARNING:", w)
			}
			p, err := l.printer(a, format.Standard{Table: "{{.Driver}}\t{{.Name}}", Raw: rawVolume, Heads: volumeHeads}, "{{.Name}}", "name: {{.Name}}", a.config().VolumesFormat)
			if err != nil {
				return err
			}
			slices.SortFunc(r.Volumes, func(a, b volume.Volume) int { return sortorder.NaturalCompare(a.Name, b.Name) })
			for _, v := range r.Volumes {
				if err := p.Row(volumeRowOf(v)); err != nil {
					return err
				}
			}
			return p.Flush()
		})}
	l.register(cmd)
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "Show names only")
	cmd.Flags().BoolVar(&cluster, "cluster", false, "Show the volumes of a cluster (not built yet)")
	return cmd
}

func newVolumeCreate(a *app) *cobra.Command {
	var r volume.CreateRequest
	var name string
	opts, labels := options.NewOptFlag(), options.NewLabelFlag()
	cmd := &cobra.Command{Use: "create [OPTIONS] [VOLUME]", Short: "Create a volume", Args: args(0, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			r.Name = name
			if len(args) > 0 {
				if name != "" {
					return errors.New("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
				}
				r.Name = args[0]
			}
			r.DriverOpts, r.Labels = opts.Pairs(), labels.Pairs()
			v, err := c.VolumeCreate(ctx, r)
			if err == nil {
				fmt.Fprintln(a.Out, v.Name)
			}
			return err
		})}
	f := cmd.Flags()
	f.StringVarP(&r.Driver, "driver", "d", "local", "Driver of the volume")
	f.VarP(opts, "opt", "o", "Option of the driver, key=value")
	f.Var(labels, "label", "Set a label, key=value")
	f.StringVar(&name, "name", "", "Name of the volume")
	f.MarkHidden("name")
	return cmd
}

func newVolumeInspect(a *app) *cobra.Command {
	var text string
	cmd := &cobra.Command{Use: "inspect [OPTIONS] VOLUME [VOLUME...]", Short: "Display detailed information on one or more volumes", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.inspect(ctx, c, text, args, inspectVolume)
		})}
	cmd.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	return cmd
}

func newVolumeRm(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{Use: "rm [OPTIONS] VOLUME [VOLUME...]", Short: "Remove one or more volumes", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(name string) error { return c.VolumeRemove(ctx, name, force) })
		})}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Succeed also when there is no such volume")
	return cmd
}
