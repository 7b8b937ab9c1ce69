package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"hoy/client"
)

func newContainerPrune(a *app) *cobra.Command {
	return a.pruning("Remove all stopped containers", "container prune", "Deleted Containers:", nil,
		func(ctx context.Context, c *client.Client, f client.Filters, _ bool) ([]string, uint64, error) {
			r, err := c.ContainerPrune(ctx, f)
			return r.ContainersDeleted, r.SpaceReclaimed, err
		})
}

func newVolumePrune(a *app) *cobra.Command {
	var all bool
	cmd := a.pruning("Remove unused local volumes", "volume prune", "Deleted Volumes:", &all,
		func(ctx context.Context, c *client.Client, f client.Filters, all bool) ([]string, uint64, error) {
			if all {
				f["all"] = []string{"true"}
			}
			r, err := c.VolumePrune(ctx, f)
			return r.VolumesDeleted, r.SpaceReclaimed, err
		})
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Remove volumes with a name, too")
	return cmd
}

// pruning is a command that removes what is not used. all is its flag --all, nil: it
// has none.
func (a *app) pruning(about, what, title string, all *bool,
	prune func(ctx context.Context, c *client.Client, f client.Filters, all bool) ([]string, uint64, error)) *cobra.Command {
	var force bool
	var filters filterFlag
	cmd := &cobra.Command{Use: "prune [OPTIONS]", Short: about, Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if !force {
				if err := a.confirm(pruneWarning(what, all != nil && *all)); err != nil {
					return err
				}
			}
			gone, size, err := prune(ctx, c, a.pruneFilters(filters.f), all != nil && *all)
			if err != nil {
				return err
			}
			a.deleted(title, gone)
			if what != networkPrune { // networks take no space
				fmt.Fprintln(a.Out, "Total reclaimed space:", units.HumanSize(float64(size)))
			}
			return nil
		})}
	cmd.Flags().Var(&filters, "filter", "Remove those only that a condition holds for, like label=a")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not ask")
	return cmd
}

// pruneFilters are those that were given, and those of config.json that do not contradict
// them.
func (a *app) pruneFilters(given client.Filters) client.Filters {
	f := client.Filters{}
	for k, v := range given {
		f[k] = slices.Clone(v)
	}
	opposite := map[string]string{"label": "label!", "label!": "label"}
	for _, s := range a.config().PruneFilters {
		if k, v, ok := strings.Cut(s, "="); ok && !slices.Contains(given[opposite[k]], v) {
			f[k] = append(f[k], v)
		}
	}
	return f
}

const networkPrune = "network prune"

func pruneWarning(what string, all bool) string {
	switch {
	case what == "container prune":
		return "WARNING! This will remove all stopped containers."
	case what == networkPrune:
		return "WARNING! This will remove all custom networks not used by at least one container."
	case all:
		return "WARNING! This will remove all local volumes not used by at least one container."
	}
	return "WARNING! This will remove anonymous local volumes not used by at least one container."
}
