package cli

import (
	"context"
	"io"
	"path/filepath"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/spf13/cobra"

	"hoy/client"
)

func newMigrateDocker(a *app) *cobra.Command {
	var root, containerd string
	cmd := &cobra.Command{Use: "docker [OPTIONS]", Short: "Take over the images, volumes and containers of a Docker engine", Args: args(0, 0),
		Long: "Take over the images, volumes and containers of a Docker engine on the engine's machine.\n" +
			"Docker's side is only read; what is here by the same name already is left alone, so the\n" +
			"command can be repeated. Stop the Docker engine first, or files that change meanwhile are\n" +
			"taken over as they are at that moment.",
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			for _, dir := range []*string{&root, &containerd} {
				if *dir == "" {
					continue
				}
				if *dir, err = filepath.Abs(*dir); err != nil {
					return err
				}
			}
			return c.MigrateDocker(ctx, root, containerd, func(m jsonstream.Message) error {
				_, err := io.WriteString(a.Out, m.Stream)
				return err
			})
		})}
	f := cmd.Flags()
	f.StringVar(&root, "data-root", "/var/lib/docker", "Data root of the Docker engine")
	f.StringVar(&containerd, "containerd-root", "", "Root of the containerd that it keeps images in (found by itself where it is in the usual place)")
	return cmd
}
