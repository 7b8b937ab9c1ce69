package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/fvbommel/sortorder"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/cli/options"
	"hoy/client"
)

type networkRow struct {
	CreatedAt, Driver, ID, IPv4, IPv6, Internal, Labels, Name, Scope string

	labels map[string]string
}

// Label returns one label.
func (r networkRow) Label(name string) string { return r.labels[name] }

func newNetworkLs(a *app) *cobra.Command {
	var l listFlags
	cmd := &cobra.Command{Use: "ls [OPTIONS]", Short: "List networks", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.NetworkList(ctx, l.filters.f)
			if err != nil {
				return err
			}
			p, err := l.printer(a, format.Standard{
				Table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
				Raw:   "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
				Heads: format.Heads{"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT"},
			}, "{{.ID}}", "network_id: {{.ID}}", a.config().NetworksFormat)
			if err != nil {
				return err
			}
			slices.SortFunc(list, func(a, b network.Summary) int { return sortorder.NaturalCompare(a.Name, b.Name) })
			for _, n := range list {
				row := networkRow{n.Created.String(), n.Driver, n.ID, fmt.Sprint(n.EnableIPv4), fmt.Sprint(n.EnableIPv6), fmt.Sprint(n.Internal), labelList(n.Labels), n.Name, n.Scope, n.Labels}
				if !l.noTrunc {
					row.ID = shortID(n.ID)
				}
				if err := p.Row(row); err != nil {
					return err
				}
			}
			return p.Flush()
		})}
	l.register(cmd)
	cmd.Flags().BoolVar(&l.noTrunc, "no-trunc", false, "Do not shorten ids")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "Show ids only")
	return cmd
}

func newNetworkInspect(a *app) *cobra.Command {
	var text string
	var verbose bool
	cmd := &cobra.Command{Use: "inspect [OPTIONS] NETWORK [NETWORK...]", Short: "Display detailed information on one or more networks", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.inspect(ctx, c, text, args, inspectNetwork(verbose))
		})}
	cmd.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Say more, to find what is wrong")
	return cmd
}

func newNetworkCreate(a *app) *cobra.Command {
	var r network.CreateRequest
	var ipv4, ipv6 bool
	var from string
	ipam := options.NewIPAM()
	opts, labels := options.NewOptFlag(), options.NewLabelFlag()
	var cmd *cobra.Command
	cmd = &cobra.Command{Use: "create [OPTIONS] NETWORK", Short: "Create a network", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			var err error
			if r.IPAM, err = ipam.Config(); err != nil {
				return err
			}
			r.Name, r.Options, r.Labels = args[0], opts.Pairs(), labels.Pairs()
			if cmd.Flags().Changed("ipv4") {
				r.EnableIPv4 = &ipv4
			}
			if cmd.Flags().Changed("ipv6") {
				r.EnableIPv6 = &ipv6
			}
			if from != "" {
				r.ConfigFrom = &network.ConfigReference{Network: from}
			}
			made, err := c.NetworkCreate(ctx, r)
			if err != nil {
				return err
			}
			if made.Warning != "" {
				fmt.Fprintln(a.Err, "WARNING:", made.Warning)
			}
			fmt.Fprintln(a.Out, made.ID)
			return nil
		})}
	f := cmd.Flags()
	f.BoolVar(&r.Attachable, "attachable", false, "Let containers join a swarm's network")
	f.StringVar(&from, "config-from", "", "Take the settings of that network, made with --config-only")
	f.BoolVar(&r.ConfigOnly, "config-only", false, "Only keep the settings, for --config-from")
	f.StringVarP(&r.Driver, "driver", "d", "bridge", "Driver of the network: bridge, macvlan or ipvlan")
	f.BoolVar(&r.Ingress, "ingress", false, "Make a swarm's routing mesh (refused)")
	f.BoolVar(&r.Internal, "internal", false, "Let nothing pass between it and the world")
	f.BoolVar(&ipv4, "ipv4", true, "Give IPv4 addresses")
	f.BoolVar(&ipv6, "ipv6", false, "Give IPv6 addresses")
	f.Var(labels, "label", "Set a label, key=value")
	f.VarP(opts, "opt", "o", "Option of the driver, key=value")
	f.StringVar(&r.Scope, "scope", "", "Scope of the network: local")
	ipam.Register(f)
	return cmd
}

func newNetworkRm(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{Use: "rm NETWORK [NETWORK...]", Short: "Remove one or more networks", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(name string) error {
				err := c.NetworkRemove(ctx, name)
				if force && client.StatusOf(err) == http.StatusNotFound {
					return errQuiet
				}
				return err
			})
		})}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Succeed also when there is no such network")
	return cmd
}

func newNetworkConnect(a *app) *cobra.Command {
	endpoint := options.NewEndpoint()
	cmd := &cobra.Command{Use: "connect [OPTIONS] NETWORK CONTAINER", Short: "Connect a container to a network", Args: args(2, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			e, err := endpoint.Settings()
			if err != nil {
				return err
			}
			return c.NetworkConnect(ctx, args[0], network.ConnectRequest{Container: args[1], EndpointConfig: e})
		})}
	endpoint.Register(cmd.Flags())
	return cmd
}

func newNetworkDisconnect(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{Use: "disconnect [OPTIONS] NETWORK CONTAINER", Short: "Disconnect a container from a network", Args: args(2, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return c.NetworkDisconnect(ctx, args[0], network.DisconnectRequest{Container: args[1], Force: force})
		})}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Disconnect also from a network that is not there")
	return cmd
}

func newNetworkPrune(a *app) *cobra.Command {
	return a.pruning("Remove all unused networks", networkPrune, "Deleted Networks:", nil,
		func(ctx context.Context, c *client.Client, f client.Filters, _ bool) ([]string, uint64, error) {
			r, err := c.NetworkPrune(ctx, f)
			return r.NetworksDeleted, 0, err
		})
}
