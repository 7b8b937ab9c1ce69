package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hoy/cli/options"
	"hoy/client"
)

func newUpdate(a *app) *cobra.Command {
	var o options.Update
	cmd := &cobra.Command{Use: "update [OPTIONS] CONTAINER [CONTAINER...]", Short: "Update configuration of one or more containers", Args: args(1, -1)}
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		config, err := o.Config(cmd.Flags())
		if err != nil {
			return err
		}
		request := client.UpdateConfig{UpdateConfig: config, OnUnhealthy: o.OnUnhealthy()}
		if request.PublishAdd, request.PublishRm, err = o.Ports(); err != nil {
			return err
		}
		var warnings []string
		err = a.each(args, func(name string) error {
			r, err := c.ContainerUpdate(ctx, name, request)
			warnings = append(warnings, r.Warnings...)
			return err
		})
		if len(warnings) > 0 {
			fmt.Fprintln(a.Out, strings.Join(warnings, "\n"))
		}
		return err
	})
	o.Register(cmd.Flags())
	return cmd
}
