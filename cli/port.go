package cli

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"hoy/client"
)

func newPort(a *app) *cobra.Command {
	return &cobra.Command{Use: "port CONTAINER [PRIVATE_PORT[/PROTO]]", Short: "List port mappings or a specific mapping for the container", Args: args(1, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			r, _, err := c.ContainerInspect(ctx, args[0], false)
			if err != nil {
				return err
			}
			var published network.PortMap
			if r.NetworkSettings != nil {
				published = r.NetworkSettings.Ports
			}
			lines, err := portLines(published, args[1:])
			if err == nil && len(lines) == 0 && len(args) > 1 {
				err = fmt.Errorf("no public port '%s' published for %s", args[1], args[0])
			}
			for _, l := range lines {
				fmt.Fprintln(a.Out, l)
			}
			return err
		})}
}

// portLines are the published ports, or the addresses of the one that is asked for.
func portLines(published network.PortMap, asked []string) ([]string, error) {
	var lines []string
	if len(asked) > 0 {
		p, err := network.ParsePort(asked[0])
		if err != nil {
			return nil, fmt.Errorf("invalid port %q: write it like 80 or 80/udp: %w", asked[0], err)
		}
		for _, b := range published[p] {
			lines = append(lines, bindingAddress(b))
		}
		return lines, nil
	}
	for p, bindings := range published {
		for _, b := range bindings {
			lines = append(lines, fmt.Sprintf("%s -> %s", p, bindingAddress(b)))
		}
	}
	slices.SortFunc(lines, strings.Compare)
	return lines, nil
}

func bindingAddress(b network.PortBinding) string {
	host := "0.0.0.0"
	if b.HostIP.IsValid() {
		host = b.HostIP.String()
	}
	return net.JoinHostPort(host, b.HostPort)
}
