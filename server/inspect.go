package server

import (
	"maps"
	"net/netip"
	"slices"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"

	"hoy/container"
)

// inspected is a container as inspect shows it: docker's fields, and what only hoy has.
type inspected struct {
	*apicontainer.InspectResponse
	LogDelivery *container.LogDelivery `json:",omitempty"`
	askedMAC    string                 // for old versions
}

// legacyInspect is a container as versions up to 1.51 show it: the default
// bridge's addresses stand beside the list of networks, if it is in that one.
type legacyInspect struct {
	inspected
	Config          legacyConfig
	NetworkSettings any
}

// legacyConfig has the hardware address that was asked for on the container's own network.
type legacyConfig struct {
	*apicontainer.Config
	MacAddress string `json:",omitempty"`
}

type legacyNetworks struct {
	*apicontainer.NetworkSettings
	EndpointID, MacAddress         string
	Gateway, IPAddress             string
	IPPrefixLen                    int
	IPv6Gateway, GlobalIPv6Address string
	GlobalIPv6PrefixLen            int
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
	response := *c.InspectResponse
	c.InspectResponse = &response
	if c.Storage != nil && c.Storage.RootFS != nil && c.Storage.RootFS.Snapshot != nil {
		c.GraphDriver, c.Storage = &storage.DriverData{Name: c.Storage.RootFS.Snapshot.Name}, nil
	}
	if v < 45 {
		response.NetworkSettings = aliasesOfOld(&response)
	}
	legacy := legacyInspect{c, legacyConfig{Config: c.Config, MacAddress: c.askedMAC}, c.NetworkSettings}
	if e := c.NetworkSettings.Networks["bridge"]; e != nil {
		legacy.NetworkSettings = bridgeBeside(c.NetworkSettings, e)
	}
	return legacy
}

// aliasesOfOld has the short id and the host name among the aliases, as versions up to
// 1.44 show them: the names that are given besides are DNSNames since.
func aliasesOfOld(c *apicontainer.InspectResponse) *apicontainer.NetworkSettings {
	s := *c.NetworkSettings
	s.Networks = maps.Clone(s.Networks)
	for name, e := range s.Networks {
		if e == nil || !apicontainer.NetworkMode(name).IsUserDefined() {
			continue
		}
		own := *e
		own.Aliases = nil
		for _, a := range append(slices.Clone(e.Aliases), c.ID[:min(12, len(c.ID))], c.Config.Hostname) {
			if !slices.Contains(own.Aliases, a) {
				own.Aliases = append(own.Aliases, a)
			}
		}
		s.Networks[name] = &own
	}
	return &s
}

func bridgeBeside(s *apicontainer.NetworkSettings, e *network.EndpointSettings) *legacyNetworks {
	return &legacyNetworks{
		NetworkSettings: s, EndpointID: e.EndpointID, MacAddress: e.MacAddress.String(),
		Gateway: text(e.Gateway), IPAddress: text(e.IPAddress), IPPrefixLen: e.IPPrefixLen,
		IPv6Gateway: text(e.IPv6Gateway), GlobalIPv6Address: text(e.GlobalIPv6Address), GlobalIPv6PrefixLen: e.GlobalIPv6PrefixLen,
	}
}

// text is the address, or nothing: the zero Addr calls itself "invalid IP".
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
