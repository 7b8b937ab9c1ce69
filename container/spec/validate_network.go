package spec

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
)

func (v *validation) network() error {
	h := v.h
	mode := h.NetworkMode
	if mode == "container" || mode.IsContainer() {
		return v.sharedNetwork()
	}
	if mode.IsHost() && len(h.Links) > 0 {
		return invalid("conflicting options: host type networking can't be used with links. This would result in undefined behavior")
	}
	for _, l := range h.Links {
		if err := validLink(l); err != nil {
			return err
		}
	}
	if len(h.Links) > 0 && !mode.IsUserDefined() {
		v.warn("Links on the default bridge network are deprecated and will be removed in a future release. Use a custom network instead.")
	}
	if err := ValidatePorts(h.PortBindings); err != nil {
		return err
	}
	if mode.IsHost() && len(h.PortBindings) > 0 {
		v.warn("Published ports are discarded when using host network mode")
		h.PortBindings = nil
	}
	if mode.IsHost() && h.PublishAllPorts {
		v.warn("Published ports are discarded when using host network mode: PublishAllPorts discarded.")
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

// ValidatePorts checks ports that shall be published.
func ValidatePorts(ports network.PortMap) error {
	for port, bindings := range ports {
		if !port.IsValid() || port.Num() == 0 {
			return invalid("invalid port specification: %q", port.String())
		}
		for _, b := range bindings {
			if _, err := network.ParsePortRange(b.HostPort); b.HostPort != "" && err != nil {
				return invalid("invalid port specification: %q", b.HostPort)
			}
		}
	}
	return nil
}

// validLink checks name[:alias].
func validLink(l string) error {
	name, alias, ok := strings.Cut(l, ":")
	if name == "" || ok && (alias == "" || strings.Contains(alias, ":")) {
		return invalid("bad format for links: %s", l)
	}
	return nil
}

func (v *validation) endpoints() error {
	if v.n == nil {
		return nil
	}
	// Networks are walked in order, so that the same request gives the same error.
	for _, name := range slices.Sorted(maps.Keys(v.n.EndpointsConfig)) {
		e := v.n.EndpointsConfig[name]
		if e == nil {
			continue
		}
		if err := v.host.ValidateEndpoint(name, e); err != nil {
			return fault.New(fault.Invalid, "invalid config for network %s: %w", name, err)
		}
		if len(e.MacAddress) > 0 && (v.h.NetworkMode.IsHost() || v.h.NetworkMode.IsNone()) {
			v.warn("Link addresses are discarded when using %s network mode", v.h.NetworkMode)
			e.MacAddress = nil
		}
		v.operational(e)
	}
	return nil
}

// ValidateEndpoint checks what is asked of the network with this name, and writes
// IPv4 addresses as such.
func (h Host) ValidateEndpoint(name string, e *network.EndpointSettings) error {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	i := e.IPAMConfig
	if i == nil {
		i = &network.EndpointIPAMConfig{}
	}
	if !container.NetworkMode(name).IsUserDefined() {
		if i.IPv4Address.IsValid() || i.IPv6Address.IsValid() {
			say("user-specified IP address is supported on user-defined networks only")
		}
		if len(e.Aliases) > 0 {
			say("network-scoped aliases are only supported for user-defined networks")
		}
	}
	if a := i.IPv4Address; a.IsValid() && (!a.Unmap().Is4() || a.IsUnspecified()) {
		say("invalid IPv4 address: %s", a)
	}
	if a := i.IPv6Address; a.IsValid() && (a.Unmap().Is4() || a.IsUnspecified() || a.Zone() != "") {
		say("invalid IPv6 address: %s", a)
	}
	i.IPv4Address, i.IPv6Address = i.IPv4Address.Unmap(), i.IPv6Address.Unmap()
	if h.Subnets != nil {
		if subnets, ok := h.Subnets(name); ok {
			for _, a := range []netip.Addr{i.IPv4Address, i.IPv6Address} {
				if a.IsValid() && !slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Contains(a) }) {
					say("no configured subnet contains IP address %s", a)
				}
			}
		}
	}
	for n, a := range i.LinkLocalIPs {
		if !a.IsValid() || a.IsUnspecified() {
			say("invalid link-local IP address: %s", a)
		}
		i.LinkLocalIPs[n] = a.Unmap()
	}
	for _, l := range e.Links {
		if err := validLink(l); err != nil {
			say("%v", err)
		}
	}
	if m := e.MacAddress; len(m) > 0 && len(m) != 6 {
		say("invalid MAC address %s: want six bytes", m)
	}
	if len(wrong) > 1 {
		for i := range wrong {
			wrong[i] = "* " + wrong[i]
		}
	}
	if len(wrong) > 0 {
		return invalid("invalid endpoint settings:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// operational drops what only the engine can know. Compose says the address that it asks
// for there once more, that of IPv6 as a gateway: nothing is lost with it.
func (v *validation) operational(e *network.EndpointSettings) {
	var asked network.EndpointIPAMConfig
	if e.IPAMConfig != nil {
		asked = *e.IPAMConfig
	}
	other := func(a, asked netip.Addr) bool { return a.IsValid() && a.Unmap() != asked.Unmap() }
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"NetworkID", e.NetworkID != ""}, {"EndpointID", e.EndpointID != ""},
		{"Gateway", e.Gateway.IsValid()}, {"IPAddress", other(e.IPAddress, asked.IPv4Address)}, {"IPPrefixLen", e.IPPrefixLen != 0},
		{"IPv6Gateway", other(e.IPv6Gateway, asked.IPv6Address)}, {"GlobalIPv6Address", other(e.GlobalIPv6Address, asked.IPv6Address)},
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
