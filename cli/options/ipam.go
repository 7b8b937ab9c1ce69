package options

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"
)

// IPAM are the flags that say which addresses a network has.
type IPAM struct {
	driver                    string
	subnets, ranges, gateways []string
	aux, opts                 *ListFlag
}

// NewIPAM returns the flags with nothing given.
func NewIPAM() *IPAM {
	return &IPAM{aux: new(list).of("map", checkPair("aux-address", "router=10.0.0.5")), opts: NewOptFlag()}
}

// Register adds the flags.
func (o *IPAM) Register(f *pflag.FlagSet) {
	f.Var(o.aux, "aux-address", "Keep an address free for something else, name=address")
	f.StringSliceVar(&o.gateways, "gateway", nil, "Gateway of a subnet")
	f.StringSliceVar(&o.ranges, "ip-range", nil, "Part of a subnet from which containers get addresses, like 10.0.1.0/24")
	f.StringVar(&o.driver, "ipam-driver", "default", "Driver that gives the addresses: default")
	f.Var(o.opts, "ipam-opt", "Option of that driver, key=value")
	f.StringSliceVar(&o.subnets, "subnet", nil, "Subnet of the network, like 10.0.0.0/16")
}

// Config puts ranges, gateways and kept addresses to the subnets that contain them.
func (o *IPAM) Config() (*network.IPAM, error) {
	if len(o.subnets) < len(o.ranges) || len(o.subnets) < len(o.gateways) {
		return nil, errors.New("every ip-range or gateway must have a corresponding subnet")
	}
	var subnets []network.IPAMConfig
	for _, s := range o.subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("invalid subnet %s: write one like 10.0.0.0/16", s)
		}
		if slices.ContainsFunc(subnets, func(c network.IPAMConfig) bool { return c.Subnet.Overlaps(p) }) {
			return nil, errors.New("multiple overlapping subnet configuration is not supported")
		}
		subnets = append(subnets, network.IPAMConfig{Subnet: p, AuxAddress: map[string]netip.Addr{}})
	}
	of := func(a netip.Addr) *network.IPAMConfig {
		for i := range subnets {
			if subnets[i].Subnet.Contains(a) {
				return &subnets[i]
			}
		}
		return nil
	}
	for _, step := range []func(func(netip.Addr) *network.IPAMConfig) error{o.setRanges, o.setGateways, o.setAux} {
		if err := step(of); err != nil {
			return nil, err
		}
	}
	return &network.IPAM{Driver: o.driver, Options: o.opts.Pairs(), Config: subnets}, nil
}

func (o *IPAM) setRanges(of func(netip.Addr) *network.IPAMConfig) error {
	for _, s := range o.ranges {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("invalid ip-range %s: write one like 10.0.1.0/24", s)
		}
		switch c := of(p.Addr()); {
		case c == nil:
			return fmt.Errorf("no matching subnet for range %s", s)
		case c.IPRange.IsValid():
			return fmt.Errorf("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", s, c.IPRange, c.Subnet)
		default:
			c.IPRange = p
		}
	}
	return nil
}

func (o *IPAM) setGateways(of func(netip.Addr) *network.IPAMConfig) error {
	for _, s := range o.gateways {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("invalid gateway %s: write an address like 10.0.0.1", s)
		}
		switch c := of(a); {
		case c == nil:
			return fmt.Errorf("no matching subnet for gateway %s", s)
		case c.Gateway.IsValid():
			return fmt.Errorf("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", s, c.Gateway, c.Subnet)
		default:
			c.Gateway = a
		}
	}
	return nil
}

func (o *IPAM) setAux(of func(netip.Addr) *network.IPAMConfig) error {
	for name, s := range o.aux.Pairs() {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("invalid aux-address %s: write name=address, like router=10.0.0.5", s)
		}
		c := of(a)
		if c == nil {
			return fmt.Errorf("no matching subnet for aux-address %s", s)
		}
		c.AuxAddress[name] = a
	}
	return nil
}

// Endpoint are the flags that say what a container is given on a network.
type Endpoint struct {
	ip, ip6                  string
	aliases, linkLocal, opts []string
	links                    *ListFlag
	priority                 int
}

// NewEndpoint returns the flags with nothing given.
func NewEndpoint() *Endpoint {
	return &Endpoint{links: new(list).of("list", checkNotEmpty("link", "db:alias"))}
}

// Register adds the flags.
func (o *Endpoint) Register(f *pflag.FlagSet) {
	f.StringSliceVar(&o.aliases, "alias", nil, "Another name on the network")
	f.StringSliceVar(&o.opts, "driver-opt", nil, "Option of the network's driver, key=value")
	f.IntVar(&o.priority, "gw-priority", 0, "The network with the highest gives the default route")
	f.StringVar(&o.ip, "ip", "", "IPv4 address, like 172.30.100.104")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address, like 2001:db8::33")
	f.Var(o.links, "link", "Link to another container, name[:alias]")
	f.StringSliceVar(&o.linkLocal, "link-local-ip", nil, "Link-local address")
}

// Settings returns what was given.
func (o *Endpoint) Settings() (*network.EndpointSettings, error) {
	var a attachment
	for key, values := range map[string][]string{"ip": {o.ip}, "ip6": {o.ip6}, "link-local-ip": o.linkLocal} {
		for _, v := range values {
			if v == "" {
				continue
			}
			if err := a.field(key, v); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range o.opts {
		key, val, ok := strings.Cut(v, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, fmt.Errorf("invalid driver-opt %q: write key=value", v)
		}
		if a.ep.DriverOpts == nil {
			a.ep.DriverOpts = map[string]string{}
		}
		a.ep.DriverOpts[key] = strings.TrimSpace(val)
	}
	a.ep.Aliases, a.ep.Links, a.ep.GwPriority = o.aliases, o.links.Values(), o.priority
	return &a.ep, nil
}
