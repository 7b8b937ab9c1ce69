package spec

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
)

func (v *validation) network() error {
	c, h := v.c, v.h
	mode := h.NetworkMode
	if mode == "container" || mode.IsContainer() {
		return v.sharedNetwork()
	}
	switch mode {
	case "", network.NetworkDefault, network.NetworkBridge, network.NetworkHost, network.NetworkNone:
	default:
		return fault.New(fault.NotFound, "network %s not found", string(mode))
	}
	if mode.IsHost() && len(h.Links) > 0 {
		return invalid("conflicting options: host type networking can't be used with links. This would result in undefined behavior")
	}
	if len(h.Links) > 0 {
		return later("linking containers")
	}
	for port, bindings := range h.PortBindings {
		if !port.IsValid() || port.Num() == 0 {
			return invalid("invalid port specification: %q", port.String())
		}
		for _, b := range bindings {
			if _, err := network.ParsePortRange(b.HostPort); b.HostPort != "" && err != nil {
				return invalid("invalid port specification: %q", b.HostPort)
			}
		}
	}
	if mode.IsHost() && len(h.PortBindings) > 0 {
		v.warn("Published ports are discarded when using host network mode")
		h.PortBindings = nil
	}
	if len(h.PortBindings) > 0 || h.PublishAllPorts && len(c.ExposedPorts) > 0 && !mode.IsHost() {
		return later("publishing ports")
	}
	if h.PublishAllPorts {
		v.warn("No port is exposed in the request or ports cannot be published: PublishAllPorts discarded.")
		h.PublishAllPorts = false
	}
	if v.host.IPv4ForwardingOff && !mode.IsHost() && !mode.IsNone() {
		v.warn("IPv4 forwarding is disabled. Networking will not work.")
	}
	return nil
}

// sharedNetwork refuses what belongs to the container whose network is joined.
func (v *validation) sharedNetwork() error {
	c, h := v.c, v.h
	switch {
	case h.NetworkMode.ConnectedContainer() == "":
		return invalid("invalid network mode: invalid container format container:<name|id>")
	case c.Hostname != "":
		return invalid("conflicting options: hostname and the network mode")
	case len(h.Links) > 0:
		return invalid("conflicting options: container type network can't be used with links. This would result in undefined behavior")
	case len(h.DNS) > 0:
		return invalid("conflicting options: dns and the network mode")
	case len(h.ExtraHosts) > 0:
		return invalid("conflicting options: custom host-to-IP mapping and the network mode")
	case len(h.PortBindings) > 0 || h.PublishAllPorts:
		return invalid("conflicting options: port publishing and the container type network mode")
	case len(c.ExposedPorts) > 0:
		return invalid("conflicting options: port exposing and the container type network mode")
	}
	return nil
}

func (v *validation) endpoints() error {
	if v.n == nil {
		return nil
	}
	// Networks are walked in order, so that the same request gives the same error.
	var names []string
	for name := range v.n.EndpointsConfig {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > 1 {
		return later("connecting a container to several networks")
	}
	for _, name := range names {
		if !slices.Contains([]string{"default", "bridge", "host", "none"}, name) {
			return fault.New(fault.NotFound, "network %s not found", name)
		}
		if err := v.endpoint(name, v.n.EndpointsConfig[name]); err != nil {
			return err
		}
	}
	return nil
}

func (v *validation) endpoint(name string, e *network.EndpointSettings) error {
	if e == nil {
		return nil
	}
	if i := e.IPAMConfig; i != nil && (i.IPv4Address.IsValid() || i.IPv6Address.IsValid()) {
		return invalid("invalid endpoint settings:\nuser-specified IP address is supported on user-defined networks only")
	}
	switch {
	case len(e.Aliases) > 0:
		return invalid("invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks")
	case e.IPAMConfig != nil && len(e.IPAMConfig.LinkLocalIPs) > 0:
		return later("giving a container link-local addresses")
	case len(e.Links) > 0:
		return later("linking containers")
	case len(e.DriverOpts) > 0:
		return later("an endpoint's driver option")
	case len(e.MacAddress) > 0 && len(e.MacAddress) != 6:
		return invalid("invalid MAC address %s: want six bytes", e.MacAddress)
	case len(e.MacAddress) > 0 && (name == "host" || name == "none" || v.h.NetworkMode.IsHost() || v.h.NetworkMode.IsNone()):
		return invalid("conflicting options: mac-address and the network mode")
	}
	if e.GwPriority != 0 {
		v.warn("GwPriority has no meaning with a single network. GwPriority discarded.")
		e.GwPriority = 0
	}
	v.operational(e)
	return nil
}

// operational drops what only the engine can know.
func (v *validation) operational(e *network.EndpointSettings) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"NetworkID", e.NetworkID != ""}, {"EndpointID", e.EndpointID != ""},
		{"Gateway", e.Gateway.IsValid()}, {"IPAddress", e.IPAddress.IsValid()}, {"IPPrefixLen", e.IPPrefixLen != 0},
		{"IPv6Gateway", e.IPv6Gateway.IsValid()}, {"GlobalIPv6Address", e.GlobalIPv6Address.IsValid()},
		{"GlobalIPv6PrefixLen", e.GlobalIPv6PrefixLen != 0}, {"DNSNames", len(e.DNSNames) > 0},
	} {
		if f.set {
			v.warn("%s of an endpoint is set by the engine. %s discarded.", f.name, f.name)
		}
	}
	e.NetworkID, e.EndpointID, e.DNSNames = "", "", nil
	e.Gateway, e.IPAddress, e.IPv6Gateway, e.GlobalIPv6Address = netip.Addr{}, netip.Addr{}, netip.Addr{}, netip.Addr{}
	e.IPPrefixLen, e.GlobalIPv6PrefixLen = 0, 0
}

// resolver checks what goes into /etc/resolv.conf and /etc/hosts: a line break
// there would add lines of the caller's choice.
func (v *validation) resolver() error {
	h := v.h
	for _, a := range h.DNS {
		if !a.IsValid() {
			return invalid("invalid DNS server: the address is empty")
		}
	}
	for _, s := range slices.Concat(h.DNSOptions, h.DNSSearch) {
		if s == "" || strings.ContainsAny(s, " \t\n\r\x00") {
			return invalid("invalid DNS option or search domain %q", s)
		}
	}
	for _, e := range h.ExtraHosts {
		if err := extraHost(e); err != nil {
			return err
		}
	}
	return nil
}

// extraHost checks "name:address"; the address may be IPv6, or "host-gateway".
func extraHost(e string) error {
	name, address, ok := strings.Cut(e, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t\n\r\x00#") {
		return invalid("bad format for add-host: %q", e)
	}
	if address == "host-gateway" {
		return nil
	}
	if _, err := netip.ParseAddr(strings.Trim(address, "[]")); err != nil {
		return invalid("invalid IP address in add-host: %q", address)
	}
	return nil
}

// lifecycle checks what happens to the container when it ends.
func (v *validation) lifecycle() error {
	h := v.h
	if err := container.ValidateRestartPolicy(h.RestartPolicy); err != nil {
		return invalid("%w", err)
	}
	if h.AutoRemove && !h.RestartPolicy.IsNone() {
		return invalid("can't create 'AutoRemove' container with restart policy")
	}
	return nil
}
