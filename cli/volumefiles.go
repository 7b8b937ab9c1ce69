package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"hoy/cli/options"
	"hoy/client"
)

// volumeFlags are those of commands that make a volume with files in it.
type volumeFlags struct {
	opts   *options.ListFlag
	labels *options.ListFlag
}

func (v *volumeFlags) register(c *cobra.Command) {
	v.opts, v.labels = options.NewOptFlag(), options.NewLabelFlag()
	c.Flags().VarP(v.opts, "opt", "o", "Option of the driver, key=value: size=10g limits it where the file system has quotas")
	c.Flags().Var(v.labels, "label", "Set a label, key=value")
}

func (v *volumeFlags) request(name string) volume.CreateRequest {
	return volume.CreateRequest{Name: name, DriverOpts: v.opts.Pairs(), Labels: v.labels.Pairs()}
}

func newVolumeClone(a *app) *cobra.Command {
	var v volumeFlags
	cmd := &cobra.Command{Use: "clone [OPTIONS] VOLUME NEW_VOLUME", Short: "Create a volume with the files of another", Args: args(2, 2),
		Long: "Create a volume with the files of another. They share what is on disk where the file system can do that.\n" +
			"Containers may go on to use the volume; pause those that write to it for a state that belongs together.",
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			made, err := c.VolumeClone(ctx, args[0], v.request(args[1]))
			if err == nil {
				fmt.Fprintln(a.Out, made.Name)
			}
			return err
		})}
	v.register(cmd)
	return cmd
}

func newVolumeRename(a *app) *cobra.Command {
	return &cobra.Command{Use: "rename VOLUME NEW_NAME", Short: "Rename a volume that no container refers to", Args: args(2, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return c.VolumeRename(ctx, args[0], args[1])
		})}
}

func newVolumeExport(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "export [OPTIONS] VOLUME", Short: "Export a volume's files as a tar archive", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.toFile(output, func() (io.ReadCloser, error) { return c.VolumeExport(ctx, args[0]) })
		})}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to this file, not to standard output")
	return cmd
}

func newVolumeImport(a *app) *cobra.Command {
	var v volumeFlags
	cmd := &cobra.Command{Use: "import [OPTIONS] VOLUME [FILE|-]", Short: "Create a volume with the files of a tar archive", Args: args(1, 2),
		Long: "Create a volume with the files of a tar archive, compressed or not, from FILE or standard input.\n" +
			"The volume is there when all of it has been unpacked, and not before.",
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			file := "-"
			if len(args) > 1 {
				file = args[1]
			}
			if file == "-" && isTerminal(a.In) {
				return errors.New("requested import from stdin, but stdin is a terminal: name the archive as the second argument")
			}
			in, done, err := a.archive(file)
			if err != nil {
				return err
			}
			defer done()
			made, err := c.VolumeImport(ctx, v.request(args[0]), in)
			if err == nil {
				fmt.Fprintln(a.Out, made.Name)
			}
			return err
		})}
	v.register(cmd)
	return cmd
}
