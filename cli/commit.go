package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hoy/cli/options"
	"hoy/client"
)

func newCommit(a *app) *cobra.Command {
	var o client.CommitOptions
	var pause bool
	changes := options.NewListFlag()
	cmd := &cobra.Command{Use: "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]", Short: "Create a new image from a container's changes", Args: args(1, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) (err error) {
			if len(args) > 1 {
				if o.Repo, o.Tag, err = splitName(args[1]); err != nil {
					return err
				}
			}
			o.Changes = changes.Values()
			o.NoPause = o.NoPause || !pause
			id, err := c.ContainerCommit(ctx, args[0], o)
			if err == nil {
				fmt.Fprintln(a.Out, id)
			}
			return err
		})}
	f := cmd.Flags()
	f.StringVarP(&o.Author, "author", "a", "", "Author, like \"Jo Doe <jo@example.com>\"")
	f.VarP(changes, "change", "c", "Apply a Dockerfile instruction, like 'CMD [\"sh\"]'")
	f.StringVarP(&o.Message, "message", "m", "", "Comment of the image")
	f.BoolVarP(&pause, "pause", "p", true, "Pause the container meanwhile")
	f.BoolVar(&o.NoPause, "no-pause", false, "Do not pause the container meanwhile")
	f.MarkHidden("pause") // docker's earlier name
	return cmd
}
