package container

import (
	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/network"
)

// networkSettings is what inspect shows of a container's networks.
func (c *Containers) networkSettings(rec *record) *apicontainer.NetworkSettings {
	s := &apicontainer.NetworkSettings{Ports: rec.portMap(), Networks: c.shownNetworks(rec)}
	if run := rec.State.Running; run != nil && run.Sandbox != nil && !rec.Host.NetworkMode.IsHost() {
		s.SandboxID, s.SandboxKey = rec.ID, nsPath(run.Pid, "net")
	}
	return s
}

// shownNetworks describes the container's places in its networks; one that does not run
// has none, and shows what was asked for.
func (c *Containers) shownNetworks(r *record) map[string]*apinetwork.EndpointSettings {
	shown := map[string]*apinetwork.EndpointSettings{}
	for name, asked := range r.Endpoints {
		e := asked.Copy()
		shown[name] = e
		if r.State.Generation > 0 {
			if n, err := c.o.Networks.Get(name); err == nil {
				e.NetworkID = n.ID
			}
		}
		if p := r.State.endpoint(name); p != nil {
			place(e, p)
			if userDefined(name) {
				e.DNSNames = r.dnsNames(e.Aliases)
			}
		}
	}
	return shown
}

// place adds what an endpoint was given.
func place(e *apinetwork.EndpointSettings, p *network.Endpoint) {
	e.NetworkID, e.EndpointID = p.NetworkID, p.EndpointID
	e.Gateway, e.IPv6Gateway = p.Gateway, p.Gateway6
	e.MacAddress = apinetwork.HardwareAddr(p.MAC)
	if p.Address.IsValid() {
		e.IPAddress, e.IPPrefixLen = p.Address.Addr(), p.Address.Bits()
	}
	if p.Address6.IsValid() {
		e.GlobalIPv6Address, e.GlobalIPv6PrefixLen = p.Address6.Addr(), p.Address6.Bits()
	}
}

// endpoints are the places of a container in its networks while it runs, its host's or no
// network's too: those are networks by name.
func (s *state) endpoints() []network.Endpoint {
	if b := s.sandbox(); b != nil {
		return b.Endpoints
	}
	return nil
}

// endpoint is the container's place in the named network, nil while it has none.
func (s *state) endpoint(name string) *network.Endpoint {
	for _, e := range s.endpoints() {
		if e.Network == name {
			return &e
		}
	}
	return nil
}

// sandbox is the connection to the world of a container that runs and has one of its own.
func (s *state) sandbox() *network.Sandbox {
	if s.Running == nil {
		return nil
	}
	return s.Running.Sandbox
}
