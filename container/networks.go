package container

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
	"hoy/network"
)

// endpointsFor returns the networks that a new container is on, by the names they have now,
// with what is asked of each. A network that does not exist yet keeps the name it was asked
// for by: docker looks for it at the start.
func (c *Containers) endpointsFor(mode apicontainer.NetworkMode, asked map[string]*apinetwork.EndpointSettings) map[string]*apinetwork.EndpointSettings {
	if mode.IsContainer() {
		return nil
	}
	endpoints := map[string]*apinetwork.EndpointSettings{}
	for ref, e := range asked {
		if e == nil {
			e = &apinetwork.EndpointSettings{}
		}
		endpoints[c.networkName(ref)] = e
	}
	if len(endpoints) == 0 {
		endpoints[c.networkName(mode.NetworkName())] = &apinetwork.EndpointSettings{}
	}
	return endpoints
}

// networkName returns the name of the network with this name or id, ref if there is none.
func (c *Containers) networkName(ref string) string {
	if n, err := c.o.Networks.Get(ref); err == nil {
		return n.Name
	}
	return ref
}

// endpointWarnings checks the options of the endpoints' drivers.
func endpointWarnings(endpoints map[string]*apinetwork.EndpointSettings) (warnings []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		more, err := network.CheckEndpointOptions(endpoints[name].DriverOpts)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid config for network %s: invalid endpoint settings:\n%w", name, err)
		}
		warnings = append(warnings, more...)
	}
	return warnings, nil
}

// subnets are those of a network; false: there is no such network.
func (c *Containers) subnets(ref string) (list []netip.Prefix, ok bool) {
	n, err := c.o.Networks.Get(ref)
	if err != nil {
		return nil, false
	}
	for _, s := range n.Subnets {
		list = append(list, s.Prefix)
	}
	return list, true
}

// userDefined tells a network that somebody made from those an engine comes with.
func userDefined(name string) bool { return apicontainer.NetworkMode(name).IsUserDefined() }

// attachRequest is what the container needs of the networks at its start.
func (c *Containers) attachRequest(r *record, generation uint64) (network.AttachRequest, error) {
	a := network.AttachRequest{ContainerID: r.ID, Name: r.Name, Generation: generation, HostUser: r.Host.UsernsMode.IsHost()}
	if err := alone(r); err != nil {
		return a, &networkError{err}
	}
	if m := r.Host.NetworkMode; m.IsHost() || m.IsNone() || r.Config.NetworkDisabled {
		a.Mode = "none"
		if m.IsHost() {
			a.Mode = "host"
		}
		return a, nil
	}
	first := c.networkName(r.Host.NetworkMode.NetworkName())
	names := slices.Sorted(maps.Keys(r.Endpoints))
	slices.SortStableFunc(names, func(a, b string) int { return boolOrder(b == first, a == first) })
	for _, name := range names {
		a.Endpoints = append(a.Endpoints, c.endpointRequest(r, name, r.Endpoints[name]))
	}
	a.Publish = r.portRequests()
	var err error
	a.Resolver, err = c.resolverRequest(r)
	return a, err
}

var (
	errBesideHost = fault.New(fault.Invalid, "container sharing network namespace with another container or host cannot be connected to any other network")
	errBesideNone = fault.New(fault.Invalid, "container cannot be connected to multiple networks with one of the networks in private (none) mode")
)

// alone refuses other networks beside the host's, and beside none.
func alone(r *record) error {
	if len(r.Endpoints) < 2 {
		return nil
	}
	if _, ok := r.Endpoints[apinetwork.NetworkHost]; ok {
		return errBesideHost
	}
	if _, ok := r.Endpoints[apinetwork.NetworkNone]; ok {
		return errBesideNone
	}
	return nil
}

// boolOrder sorts what is true behind what is false.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// endpointRequest is what the container asks of one network.
func (c *Containers) endpointRequest(r *record, name string, e *apinetwork.EndpointSettings) network.EndpointRequest {
	q := network.EndpointRequest{Network: name, Priority: e.GwPriority, Options: e.DriverOpts, MAC: net.HardwareAddr(e.MacAddress), NoIPv6: r.noIPv6()}
	if i := e.IPAMConfig; i != nil {
		q.IPv4, q.IPv6, q.LinkLocal = i.IPv4Address, i.IPv6Address, i.LinkLocalIPs
	}
	if userDefined(name) {
		q.Names = r.dnsNames(e.Aliases)
		q.Links = c.linkNames(e.Links)
	}
	if name == apinetwork.NetworkBridge {
		q.Reach = c.linkedPorts(r)
	}
	return q
}

// noIPv6 tells whether the container has switched IPv6 off for all its links.
func (r *record) noIPv6() bool { return r.Host.Sysctls["net.ipv6.conf.all.disable_ipv6"] == "1" }

// dnsNames are those by which the others of a network find the container. The first is
// what a reverse look-up gives.
func (r *record) dnsNames(aliases []string) []string {
	names := append([]string{r.Name}, aliases...)
	names = append(names, r.ID[:12])
	if r.Config.Hostname != "" {
		names = append(names, r.Config.Hostname)
	}
	var unique []string
	for _, n := range names {
		if !slices.Contains(unique, n) {
			unique = append(unique, n)
		}
	}
	return unique
}

// linkNames turns links, name:alias, into alias to name.
func (c *Containers) linkNames(links []string) map[string]string {
	if len(links) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, l := range links {
		name, alias := splitLink(l)
		if k, err := c.index.get(name); err == nil {
			name = k.rec().Name
		}
		m[alias] = name
	}
	return m
}

// splitLink splits name[:alias]; names may have a slash before them.
func splitLink(l string) (name, alias string) {
	name, alias, ok := strings.Cut(l, ":")
	name = strings.TrimPrefix(name, "/")
	if alias = alias[strings.LastIndex(alias, "/")+1:]; !ok || alias == "" {
		alias = name
	}
	return name, alias
}

// resolverRequest says how the container resolves names that no network of its has.
func (c *Containers) resolverRequest(r *record) (network.ResolverRequest, error) {
	q := network.ResolverRequest{Servers: orDefault(r.Host.DNS, c.o.DNS)}
	if c.o.HostGateway.IsValid() {
		q.Hosts = map[string]netip.Addr{hostName: c.o.HostGateway}
	}
	return q, nil
}

// Settled takes over what the networks have made of what was adopted: an engine that was
// killed in the middle of a change has left a record that is no longer true.
func (c *Containers) Settled() {
	for _, k := range c.index.all() {
		had := k.rec().State.sandbox()
		if had == nil {
			continue
		}
		has := c.o.Networks.Sandbox(k.id)
		same := func(a, b network.Endpoint) bool { return a.EndpointID == b.EndpointID && a.NetworkID == b.NetworkID }
		if has == nil || slices.EqualFunc(has.Endpoints, had.Endpoints, same) && len(has.Ports) == len(had.Ports) {
			continue
		}
		k.setSandbox(has)
		if err := c.writeRunning(k.rec().State.Running); err != nil {
			c.log.Error("cannot save a container's networks", "container", k.id, "error", err)
		}
	}
}

// NetNS opens the network namespace of a running container.
func (c *Containers) NetNS(id string) (*os.File, error) {
	k, err := c.index.get(id)
	if err != nil {
		return nil, err
	}
	p, err := k.running()
	if err != nil {
		return nil, err
	}
	return openNetNS(p)
}

func openNetNS(p *process) (*os.File, error) {
	f, err := p.netNS()
	if err != nil {
		return nil, fmt.Errorf("cannot enter a container's network: %w", err)
	}
	return f, nil
}

// hostName is the name by which containers reach the machine that they run on.
const hostName = "host.docker.internal"
