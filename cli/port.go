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
	"hoy/lib/reach"
)

func newPort(a *app) *cobra.Command {
	var explain bool
	cmd := &cobra.Command{Use: "port CONTAINER [PRIVATE_PORT[/PROTO]]", Short: "List port mappings or a specific mapping for the container", Args: args(1, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			if explain {
				return a.explainPorts(ctx, c, args)
			}
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
	cmd.Flags().BoolVar(&explain, "explain", false, "Say who can reach each published port, and why")
	return cmd
}

// explainPorts says of each published port, or of the one that is asked for, who can
// reach it.
func (a *app) explainPorts(ctx context.Context, c *client.Client, args []string) error {
	ports, err := c.Reach(ctx, args[0])
	if err != nil {
		return err
	}
	if len(args) > 1 {
		wanted, err := network.ParsePort(args[1])
		if err != nil {
			return fmt.Errorf("invalid port %q: write it like 80 or 80/udp: %w", args[1], err)
		}
		ports = slices.DeleteFunc(ports, func(p reach.Port) bool {
			return p.Container.Port() != wanted.Num() || p.Proto != string(wanted.Proto())
		})
	}
	if len(ports) == 0 {
		return fmt.Errorf("%s has no such published port: it is published by -p, or update --publish-add, while it runs", args[0])
	}
	for _, p := range ports {
		if p.Host.Port() == 0 {
			fmt.Fprintf(a.Out, "%s/%s\n", p.Container, p.Proto) // routed
		} else {
			fmt.Fprintf(a.Out, "%s/%s -> %s\n", p.Host, p.Proto, p.Container)
		}
		for _, w := range p.Answers {
			may := "cannot reach it"
			if w.Reach {
				may = "can reach it"
			}
			fmt.Fprintf(a.Out, "    %s %s: %s\n", w.Who, may, w.Why)
		}
	}
	for _, note := range ports[0].Notes { // of the host, and so the same for all
		fmt.Fprintf(a.Out, "note: %s\n", note)
	}
	return nil
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
