package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"hoy/client"
)

func newPause(a *app) *cobra.Command {
	return &cobra.Command{Use: "pause CONTAINER [CONTAINER...]", Short: "Pause all processes within one or more containers", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.together(args, func(name string) error { return c.ContainerPause(ctx, name) })
		})}
}

func newUnpause(a *app) *cobra.Command {
	return &cobra.Command{Use: "unpause CONTAINER [CONTAINER...]", Short: "Unpause all processes within one or more containers", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.together(args, func(name string) error { return c.ContainerUnpause(ctx, name) })
		})}
}

func newRename(a *app) *cobra.Command {
	return &cobra.Command{Use: "rename CONTAINER NEW_NAME", Short: "Rename a container", Args: args(2, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return c.ContainerRename(ctx, strings.TrimSpace(args[0]), strings.TrimSpace(args[1]))
		})}
}
