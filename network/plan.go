package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hoy/lib/fault"
	"hoy/network/firewall"
	"hoy/network/ipam"
)

// predefined are the networks that there always are.
var predefined = []string{"bridge", "host", "none"}

// Predefined tells whether the network is one of those that there always are.
func (n *Network) Predefined() bool { return slices.Contains(predefined, n.Name) }

// plan is what a new network shall be.
type plan struct {
	Network
	settings
	hosts []*ipam.Hosts // of Subnets
}

// world is what a plan must go together with.
type world struct {
	networks []*Network
	nets     []netip.Prefix                 // subnets of the networks
	taken    func() ([]netip.Prefix, error) // what the machine reaches by other ways
	pools    []ipam.Pool
}

// newPlan decides on what the request leaves open, and refuses what does not go.
func newPlan(r CreateRequest, w *world) (p *plan, warnings []string, err error) {
	if r.Driver == "" {
		r.Driver = "bridge"
	}
	if err := checkName(r.Name, w.networks); err != nil {
		return nil, nil, err
	}
	if r, err = withConfig(r, w); err != nil {
		return nil, nil, err
	}
	p = &plan{Network: Network{
		Name: r.Name, ID: newID(), Created: time.Now().UTC(), Driver: r.Driver, Internal: r.Internal, Attachable: r.Attachable,
		ConfigOnly: r.ConfigOnly, ConfigFrom: r.ConfigFrom, IPAMDriver: r.IPAMDriver, IPAMOptions: r.IPAMOptions, Options: r.Options, Labels: r.Labels,
	}}
	if p.IPAMDriver == "" {
		p.IPAMDriver = "default"
	}
	if err := p.families(r); err != nil {
		return nil, nil, err
	}
	for _, s := range r.Subnets {
		if err := checkSubnet(s, p.IPv6); err != nil {
			return nil, nil, err
		}
	}
	if r.ConfigOnly {
		p.Driver, p.Subnets = "null", r.Subnets
		return p, nil, nil
	}
	if warnings, err = p.driver(w); err != nil {
		return nil, nil, err
	}
	return p, warnings, p.addresses(r.Subnets, w)
}

// withConfig adds what a configuration network says to a request.
func withConfig(r CreateRequest, w *world) (CreateRequest, error) {
	if r.ConfigOnly && (r.Internal || r.Attachable) {
		return r, fault.New(fault.Forbidden, "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.")
	}
	switch {
	case r.ConfigFrom == "":
		return r, nil
	case r.ConfigOnly:
		return r, fault.New(fault.Forbidden, "a configuration network cannot depend on another configuration network")
	case r.IPAMDriver != "" && r.IPAMDriver != "default" || r.IPv4 != nil && !*r.IPv4 || r.IPv6 != nil && *r.IPv6 ||
		len(r.Labels) > 0 || len(r.IPAMOptions) > 0 || len(r.Subnets) > 0:
		return r, fault.New(fault.Forbidden, "user-specified configurations are not supported if the network depends on a configuration network")
	case len(r.Options) > 0:
		return r, fault.New(fault.Forbidden, "network driver options are not supported if the network depends on a configuration network")
	}
	i := slices.IndexFunc(w.networks, func(n *Network) bool { return n.ConfigOnly && n.Name == r.ConfigFrom })
	if i < 0 {
		return r, fault.New(fault.NotFound, "configuration network %q does not exist", r.ConfigFrom)
	}
	from := w.networks[i]
	r.IPv4, r.IPv6 = &from.IPv4, &from.IPv6
	r.IPAMDriver, r.IPAMOptions, r.Subnets = from.IPAMDriver, from.IPAMOptions, from.Subnets
	r.Options, r.Labels = from.Options, from.Labels
	return r, nil
}

// driver decides on what the driver needs. warnings name options without an effect.
func (p *plan) driver(w *world) (warnings []string, err error) {
	switch p.Driver {
	case "bridge", "macvlan", "ipvlan":
	case "host", "null":
		return nil, fault.New(fault.Forbidden, "only one instance of %q network is allowed", p.Driver)
	default:
		return nil, fault.New(fault.NotFound, "plugin %q not found", p.Driver)
	}
	switch p.IPAMDriver {
	case "default":
	case "null":
		return nil, fault.New(fault.Invalid, "ipv4 pool is empty: driver %s needs addresses", p.Driver)
	default:
		return nil, fault.New(fault.NotFound, "plugin %q not found", p.IPAMDriver)
	}
	if p.settings, warnings, err = readSettings(p.Driver, p.Options); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(p.IPAMOptions)) {
		warnings = append(warnings, fmt.Sprintf("option %s has no effect: it is not one of address management", name))
	}
	if p.Driver == "bridge" {
		return warnings, p.bridge(w)
	}
	return warnings, p.shared(w)
}

func checkName(name string, others []*Network) error {
	switch {
	case strings.TrimSpace(name) == "":
		return fault.New(fault.Invalid, "invalid name: name is empty")
	case strings.ContainsAny(name, "/\\") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fault.New(fault.Invalid, "invalid network name %q: it must not contain slashes and control characters", name)
	case slices.Contains(predefined, name) || name == "default":
		return fault.New(fault.Forbidden, "operation is not permitted on predefined %s network ", name)
	case name == "container" || strings.HasPrefix(name, "container:"):
		return fault.New(fault.Forbidden, "network name %q is reserved and cannot be created", name)
	case slices.ContainsFunc(others, func(n *Network) bool { return n.Name == name }):
		return fault.New(fault.Conflict, "network with name %s already exists", name)
	}
	return nil
}

// families decides on IPv4 and IPv6.
func (p *plan) families(r CreateRequest) error {
	p.IPv4, p.IPv6 = true, false
	for _, f := range []struct {
		asked  *bool
		option string
		field  *bool
	}{{r.IPv4, "com.docker.network.enable_ipv4", &p.IPv4}, {r.IPv6, "com.docker.network.enable_ipv6", &p.IPv6}} {
		if v, set := p.Options[f.option]; set && f.asked == nil {
			switch strings.ToLower(v) {
			case "1", "t", "true":
				*f.field = true
			case "0", "f", "false":
				*f.field = false
			default:
				return fault.New(fault.Invalid, "driver-opt %q is not a valid bool", f.option)
			}
		}
		if f.asked != nil {
			*f.field = *f.asked
			p.Options = maps.Clone(p.Options)
			delete(p.Options, f.option) // it would show the contrary
		}
	}
	if !p.IPv4 && !p.IPv6 && p.Driver == "bridge" && !p.ConfigOnly {
		return fault.New(fault.Invalid, "IPv4 or IPv6 must be enabled")
	}
	return nil
}

// bridge decides on the bridge's name.
func (p *plan) bridge(w *world) error {
	if (p.mode == firewall.Isolated || p.mode6 == firewall.Isolated) && !p.Internal {
		return fault.New(fault.Invalid, "gateway mode 'isolated' can only be used for an internal network")
	}
	if p.Link = p.link; p.Link == "" {
		p.Link = "br-" + p.ID[:12]
	}
	for _, other := range w.networks {
		if other.Link == p.Link {
			return fault.New(fault.Forbidden, "cannot create network %s (%s): conflicts with network %s (%s): networks have same bridge name", p.ID, p.Link, other.ID, other.Link)
		}
	}
	return nil
}
