package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/container"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/lib/reach"
	"hoy/network"
)

// networks implements the server's Networks.
type networks struct {
	store      *network.Networks
	containers *container.Containers
	bus        *container.Bus
	guard      *guard
	defaults   func() map[string]map[string]string // options of new networks, by driver
}

// List describes the networks that pass the filters.
func (n networks) List(ctx context.Context, f filters.Filters) ([]apinetwork.Summary, error) {
	dangling, err := f.Bool("dangling", false)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid value for filter 'dangling': must be \"true\" (or \"1\"), or \"false\" (or \"0\")")
	}
	for _, v := range f.Get("type") {
		if v != "builtin" && v != "custom" {
			return nil, fault.New(fault.Invalid, "invalid value for filter 'type': must be 'builtin' or 'custom'")
		}
	}
	l := []apinetwork.Summary{}
	for _, one := range n.store.List() {
		kind := "custom"
		if one.Predefined() {
			kind = "builtin"
		}
		switch {
		case !f.FuzzyMatch("name", one.Name), !f.PrefixMatch("id", one.ID), !f.ExactMatch("driver", one.Driver), !f.ExactMatch("scope", "local"):
		case !f.MatchKVList("label", one.Labels), !f.ExactMatch("type", kind):
		case f.Has("dangling") && dangling == (one.Predefined() || len(n.store.Endpoints(one.ID)) > 0):
		default:
			l = append(l, apinetwork.Summary{Network: shownNetwork(one)})
		}
	}
	return l, nil
}

// Inspect describes a network and the containers on it.
func (n networks) Inspect(ctx context.Context, ref string) (*apinetwork.Inspect, error) {
	one, err := n.store.Get(ref)
	if err != nil {
		return nil, err
	}
	r := &apinetwork.Inspect{Network: shownNetwork(one), Containers: map[string]apinetwork.EndpointResource{}}
	for id, e := range n.store.Endpoints(one.ID) {
		r.Containers[id] = apinetwork.EndpointResource{
			Name: n.containers.Name(id), EndpointID: e.EndpointID, MacAddress: apinetwork.HardwareAddr(e.MAC), IPv4Address: e.Address, IPv6Address: e.Address6,
		}
	}
	subnets := apinetwork.SubnetStatuses{}
	for p, u := range n.store.Usage(one.ID) {
		subnets[p] = apinetwork.SubnetStatus{IPsInUse: u.InUse, DynamicIPsAvailable: u.Available}
	}
	r.Status = &apinetwork.Status{IPAM: apinetwork.IPAMStatus{Subnets: subnets}}
	return r, nil
}

// Create makes a network.
func (n networks) Create(ctx context.Context, r apinetwork.CreateRequest) (*apinetwork.CreateResponse, error) {
	if r.Ingress || r.Scope != "" && r.Scope != "local" || r.Driver == "overlay" {
		return nil, fault.New(fault.Forbidden, "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.")
	}
	c := network.CreateRequest{
		Name: r.Name, Driver: r.Driver, IPv4: r.EnableIPv4, IPv6: r.EnableIPv6, Internal: r.Internal, Attachable: r.Attachable,
		ConfigOnly: r.ConfigOnly, Options: r.Options, Labels: r.Labels,
	}
	if c.Driver == "" {
		c.Driver = "bridge"
	}
	if r.ConfigFrom != nil {
		c.ConfigFrom = r.ConfigFrom.Network
	}
	if c.ConfigFrom == "" {
		c.Options = withDefaults(c.Options, n.defaults()[c.Driver])
	}
	if r.IPAM != nil {
		c.IPAMDriver, c.IPAMOptions = r.IPAM.Driver, r.IPAM.Options
		for _, s := range r.IPAM.Config {
			c.Subnets = append(c.Subnets, network.Subnet{Prefix: s.Subnet, Range: s.IPRange, Gateway: s.Gateway, Reserved: s.AuxAddress})
		}
	}
	made, warnings, err := n.store.Create(ctx, c)
	if err != nil {
		return nil, err
	}
	n.event(events.ActionCreate, made)
	return &apinetwork.CreateResponse{ID: made.ID, Warning: strings.Join(warnings, "\n")}, nil
}

// withDefaults adds what options do not say.
func withDefaults(options, defaults map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{defaults, options} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// Remove removes a network that no running container is on.
func (n networks) Remove(ctx context.Context, ref string) error {
	one, err := n.store.Get(ref)
	if err != nil {
		return err
	}
	if one.Predefined() {
		return fault.New(fault.Forbidden, "%s is a pre-defined network and cannot be removed", one.Name)
	}
	if users := n.users(one); len(users) > 0 {
		return fault.New(fault.Forbidden, "error while removing network: network %s has active endpoints (%s)", one.Name, strings.Join(users, ", "))
	}
	if err := n.store.Remove(ctx, one.ID); err != nil {
		return fmt.Errorf("error while removing network: %w", err)
	}
	n.event(events.ActionDestroy, one)
	return nil
}

// users names the containers on a network as docker's error does.
func (n networks) users(one *network.Network) []string {
	var l []string
	for id, e := range n.store.Endpoints(one.ID) {
		l = append(l, fmt.Sprintf("name:%q id:%q", n.containers.Name(id), e.EndpointID[:12]))
	}
	slices.Sort(l)
	return l
}

// Prune removes the networks that somebody made and no running container is on.
func (n networks) Prune(ctx context.Context, f filters.Filters) (*apinetwork.PruneReport, error) {
	until, err := f.Until(time.Now())
	if err != nil {
		return nil, err
	}
	report := &apinetwork.PruneReport{}
	for _, one := range n.store.List() {
		if ctx.Err() != nil {
			break
		}
		if one.Predefined() || !f.MatchLabels(one.Labels) || !until.IsZero() && one.Created.After(until) || len(n.store.Endpoints(one.ID)) > 0 {
			continue
		}
		if err := n.Remove(ctx, one.ID); err != nil {
			continue // somebody uses it now, or has removed it
		}
		report.NetworksDeleted = append(report.NetworksDeleted, one.Name)
	}
	n.bus.Publish(events.NetworkEventType, events.ActionPrune, "", map[string]string{"reclaimed": "0"})
	return report, nil
}

// Connect puts a container on a network.
func (n networks) Connect(ctx context.Context, ref string, r apinetwork.ConnectRequest) error {
	return n.containers.Connect(ctx, r.Container, ref, r.EndpointConfig)
}

// Disconnect takes a container off a network.
func (n networks) Disconnect(ctx context.Context, ref string, r apinetwork.DisconnectRequest) error {
	return n.containers.Disconnect(ctx, r.Container, ref, r.Force)
}

// Reach says of a container's published ports who can reach them.
func (n networks) Reach(ctx context.Context, ref string) ([]reach.Port, error) {
	ports, err := n.containers.Ports(ref)
	if err != nil {
		return nil, err
	}
	l := []reach.Port{}
	for _, p := range ports {
		r := reach.Port{Proto: p.Proto, Host: p.Host, Container: p.Container}
		r.Notes = n.guard.Warnings()
		for _, a := range n.guard.Explain(p) {
			r.Answers = append(r.Answers, reach.Answer(a))
		}
		l = append(l, r)
	}
	return l, nil
}

func (n networks) event(a events.Action, one *network.Network) {
	n.bus.Publish(events.NetworkEventType, a, one.ID, map[string]string{"name": one.Name, "type": one.Driver})
}

func shownNetwork(n *network.Network) apinetwork.Network {
	shown := apinetwork.Network{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: "local", Driver: n.Driver, EnableIPv4: n.IPv4, EnableIPv6: n.IPv6,
		Internal: n.Internal, Attachable: n.Attachable, ConfigOnly: n.ConfigOnly, ConfigFrom: apinetwork.ConfigReference{Network: n.ConfigFrom},
		IPAM:    apinetwork.IPAM{Driver: n.IPAMDriver, Options: n.IPAMOptions},
		Options: n.Options, Labels: n.Labels,
	}
	if shown.Options == nil {
		shown.Options = map[string]string{}
	}
	if shown.Labels == nil {
		shown.Labels = map[string]string{}
	}
	for _, s := range n.Subnets {
		shown.IPAM.Config = append(shown.IPAM.Config, apinetwork.IPAMConfig{Subnet: s.Prefix, IPRange: s.Range, Gateway: s.Gateway, AuxAddress: s.Reserved})
	}
	return shown
}
