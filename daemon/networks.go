package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/container"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/network"
)

// networks implements the server's Networks.
type networks struct {
	store      *network.Networks
	containers *container.Containers
	created    time.Time
}

// List describes the networks that pass the filters.
func (n networks) List(ctx context.Context, f filters.Filters) ([]apinetwork.Summary, error) {
	if _, err := f.Bool("dangling", false); err != nil {
		return nil, err
	}
	l := []apinetwork.Summary{}
	for _, s := range n.store.List() {
		switch {
		case !f.FuzzyMatch("name", s.Name), !f.PrefixMatch("id", s.ID), !f.ExactMatch("driver", s.Driver), !f.ExactMatch("scope", "local"):
		case f.Has("label"), f.Has("type") && !f.ExactMatch("type", "builtin"): // none of these has labels or was made by a user
		case f.Has("dangling") && f.ExactMatch("dangling", "true"): // built-in networks are never unused
		default:
			l = append(l, apinetwork.Summary{Network: n.shown(s)})
		}
	}
	return l, nil
}

// Inspect describes a network and the containers on it.
func (n networks) Inspect(ctx context.Context, ref string) (*apinetwork.Inspect, error) {
	all := n.store.List()
	i := slices.IndexFunc(all, func(s network.Summary) bool { return s.Name == ref || s.ID == ref })
	if i < 0 && ref != "" {
		i = slices.IndexFunc(all, func(s network.Summary) bool { return strings.HasPrefix(s.ID, ref) })
	}
	if i < 0 {
		return nil, fault.New(fault.NotFound, "network %s not found", ref)
	}
	r := &apinetwork.Inspect{Network: n.shown(all[i]), Containers: map[string]apinetwork.EndpointResource{}}
	for id, e := range all[i].Containers {
		r.Containers[id] = apinetwork.EndpointResource{
			Name: n.containers.Name(id), EndpointID: e.EndpointID, MacAddress: apinetwork.HardwareAddr(e.MAC), IPv4Address: e.Address,
		}
	}
	return r, nil
}

func (n networks) shown(s network.Summary) apinetwork.Network {
	shown := apinetwork.Network{
		Name: s.Name, ID: s.ID, Created: n.created, Scope: "local", Driver: s.Driver, EnableIPv4: true,
		IPAM:    apinetwork.IPAM{Driver: "default", Config: []apinetwork.IPAMConfig{}},
		Options: map[string]string{}, Labels: map[string]string{},
	}
	if s.Subnet.IsValid() {
		shown.IPAM.Config = append(shown.IPAM.Config, apinetwork.IPAMConfig{Subnet: s.Subnet, Gateway: s.Gateway})
		shown.Options["com.docker.network.bridge.name"] = s.Bridge
		shown.Options["com.docker.network.bridge.default_bridge"] = "true"
	}
	return shown
}
