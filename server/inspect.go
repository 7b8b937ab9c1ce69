package server

import (
	"net/netip"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container"
)

// inspected is a container as inspect shows it: docker's fields, and what only hoy has.
type inspected struct {
	*apicontainer.InspectResponse
	LogDelivery *container.LogDelivery `json:",omitempty"`
}

// legacyInspect is a container as versions up to 1.51 show it: the default
// bridge's addresses stand beside the list of networks.
type legacyInspect struct {
	inspected
	NetworkSettings *legacyNetworks
}

type legacyNetworks struct {
	*apicontainer.NetworkSettings
	EndpointID, MacAddress              string
	Gateway, IPAddress                  string
	IPPrefixLen                         int
	IPv6Gateway, GlobalIPv6Address      string
	GlobalIPv6PrefixLen                 int
	Bridge                              string
	HairpinMode                         bool
	LinkLocalIPv6Address                string
	LinkLocalIPv6PrefixLen              int
	SecondaryIPAddresses, SecondaryIPv6 []string
}

// inspectFor shapes c for version v. c is the caller's own copy.
func inspectFor(c inspected, v version) any {
	if v < 48 {
		c.ImageManifestDescriptor = nil
	}
	if v < 56 && c.HostConfig != nil && c.HostConfig.Umask != nil {
		h := *c.HostConfig
		h.Umask = nil
		c.HostConfig = &h
	}
	if v >= 52 || c.NetworkSettings == nil {
		return c
	}
	legacy := &legacyNetworks{NetworkSettings: c.NetworkSettings}
	if e := c.NetworkSettings.Networks["bridge"]; e != nil {
		legacy.EndpointID, legacy.MacAddress = e.EndpointID, e.MacAddress.String()
		legacy.Gateway, legacy.IPAddress, legacy.IPPrefixLen = text(e.Gateway), text(e.IPAddress), e.IPPrefixLen
		legacy.IPv6Gateway, legacy.GlobalIPv6Address, legacy.GlobalIPv6PrefixLen = text(e.IPv6Gateway), text(e.GlobalIPv6Address), e.GlobalIPv6PrefixLen
	}
	return legacyInspect{c, legacy}
}

// text is the address, or nothing: the zero Addr calls itself "invalid IP".
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
