package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"hoy/client"
)

// systemPruneFlags are the flags of system prune.
type systemPruneFlags struct {
	all, force, volumes bool
	filters             filterFlag
}

func newSystemPrune(a *app) *cobra.Command {
	var o systemPruneFlags
	cmd := &cobra.Command{Use: "prune [OPTIONS]", Short: "Remove unused data", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if o.volumes && len(o.filters.f["until"]) > 0 {
				return errors.New(`ERROR: The "until" filter is not supported with "--volumes"`)
			}
			if !o.force {
				if err := a.confirm(o.warning()); err != nil {
					return err
				}
			}
			return a.systemPrune(ctx, c, &o)
		})}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Remove all images that no container uses, not only those without a name")
	f.BoolVarP(&o.force, "force", "f", false, "Do not ask")
	f.BoolVar(&o.volumes, "volumes", false, "Remove anonymous volumes, too")
	f.Var(&o.filters, "filter", "Remove those only that a condition holds for, like label=a")
	return cmd
}

func (o *systemPruneFlags) warning() string {
	what := []string{"all stopped containers", "all networks not used by at least one container"}
	if o.volumes {
		what = append(what, "all anonymous volumes not used by at least one container")
	}
	if o.all {
		what = append(what, "all images without at least one container associated to them", "all build cache")
	} else {
		what = append(what, "all dangling images", "unused build cache")
	}
	return "WARNING! This will remove:\n  - " + strings.Join(what, "\n  - ") + "\n"
}

// systemPrune removes containers first, which free the rest.
func (a *app) systemPrune(ctx context.Context, c *client.Client, o *systemPruneFlags) error {
	filters := func(more ...string) client.Filters {
		f := a.pruneFilters(o.filters.f)
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = []string{more[i+1]}
		}
		return f
	}
	containers, err := c.ContainerPrune(ctx, filters())
	if err != nil {
		return err
	}
	a.deleted("Deleted Containers:", containers.ContainersDeleted)
	total := containers.SpaceReclaimed
	networks, err := c.NetworkPrune(ctx, filters())
	if err != nil {
		return err
	}
	a.deleted("Deleted Networks:", networks.NetworksDeleted)
	if o.volumes {
		volumes, err := c.VolumePrune(ctx, filters())
		if err != nil {
			return err
		}
		a.deleted("Deleted Volumes:", volumes.VolumesDeleted)
		total += volumes.SpaceReclaimed
	}
	images, err := c.ImagePrune(ctx, filters("dangling", strconv.FormatBool(!o.all)))
	if err != nil {
		return err
	}
	a.deletedImages(images.ImagesDeleted)
	total += images.SpaceReclaimed
	cache, err := c.BuildPrune(ctx, client.BuildPruneOptions{All: o.all, Filters: filters()})
	if err != nil {
		return err
	}
	a.deleted("Deleted build cache objects:", cache.CachesDeleted)
	total += cache.SpaceReclaimed
	fmt.Fprintln(a.Out, "Total reclaimed space:", units.HumanSize(float64(total)))
	return nil
}

// deleted lists what was removed, if anything was.
func (a *app) deleted(title string, names []string) {
	if len(names) == 0 {
		return
	}
	fmt.Fprintln(a.Out, title)
	for _, name := range names {
		fmt.Fprintln(a.Out, name)
	}
	fmt.Fprintln(a.Out)
}
