package container

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/network"
	"hoy/network/firewall"
)

// portRequests are the ports that the container publishes, in a fixed order: what can
// get only one port of the host comes first, then ranges, then any free one.
func (r *record) portRequests() []network.PortRequest {
	var l []network.PortRequest
	for port, bindings := range r.Host.PortBindings {
		for _, b := range bindings {
			l = append(l, portRequest(port, b))
		}
	}
	if r.Host.PublishAllPorts {
		for port := range r.Config.ExposedPorts {
			if len(r.Host.PortBindings[port]) == 0 {
				l = append(l, portRequest(port, apinetwork.PortBinding{}))
			}
		}
	}
	choice := func(p network.PortRequest) int {
		if p.First == 0 {
			return 1 << 16
		}
		return int(p.Last - p.First)
	}
	slices.SortFunc(l, func(a, b network.PortRequest) int {
		return cmp.Or(cmp.Compare(choice(a), choice(b)), cmp.Compare(a.Container, b.Container), strings.Compare(a.Proto, b.Proto),
			a.HostIP.Compare(b.HostIP), cmp.Compare(a.First, b.First))
	})
	return l
}

// Unplaced lists the ports that are published without a place. dockerd gives them one of
// its choice, as fillPlaces does, until it has removed that.
func Unplaced(ports apinetwork.PortMap) (l []string) {
	for port, bindings := range ports {
		if len(bindings) == 0 {
			l = append(l, port.String())
		}
	}
	slices.Sort(l)
	return l
}

// fillPlaces gives the ports that are published without a place one of the engine's choice: those
// of clients that leave it out, and of records that were written before it was filled in.
func fillPlaces(ports apinetwork.PortMap) {
	for port, bindings := range ports {
		if len(bindings) == 0 {
			ports[port] = []apinetwork.PortBinding{{}}
		}
	}
}

func portRequest(port apinetwork.Port, b apinetwork.PortBinding) network.PortRequest {
	// ::ffff:127.0.0.1 is 127.0.0.1, as with dockerd.
	q := network.PortRequest{Proto: string(port.Proto()), Container: port.Num(), HostIP: b.HostIP.Unmap()}
	if r, err := apinetwork.ParsePortRange(b.HostPort); b.HostPort != "" && err == nil { // validated at the creation
		q.First, q.Last = r.Start(), r.End()
	}
	return q
}

// portMap is what inspect shows of a running container's ports: those exposed, and where
// they are published.
func (r *record) portMap() apinetwork.PortMap {
	m := apinetwork.PortMap{}
	if !slices.ContainsFunc(r.State.endpoints(), func(e network.Endpoint) bool { return e.Driver == "bridge" }) {
		return m
	}
	for p := range r.Config.ExposedPorts {
		m[p] = nil
	}
	for p := range r.Host.PortBindings {
		m[p] = nil
	}
	if s := r.State.sandbox(); s != nil {
		for _, p := range s.Ports {
			port, err := apinetwork.ParsePort(strconv.Itoa(int(p.Container.Port())) + "/" + p.Proto)
			if err == nil {
				m[port] = append(m[port], binding(p.Host))
			}
		}
	}
	return m
}

// binding is a port of the host; a routed network's has no number there.
func binding(host netip.AddrPort) apinetwork.PortBinding {
	b := apinetwork.PortBinding{HostIP: host.Addr()}
	if host.Port() != 0 {
		b.HostPort = strconv.Itoa(int(host.Port()))
	}
	return b
}

// Ports are the published ports of a container; one that does not run has none.
func (c *Containers) Ports(ref string) ([]firewall.Port, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	if s := k.rec().State.sandbox(); s != nil {
		return s.Ports, nil
	}
	return nil, nil
}

// shownPorts is what ps shows of a running container's ports.
func (r *record) shownPorts() []apicontainer.PortSummary {
	l := []apicontainer.PortSummary{}
	for p, bindings := range r.portMap() {
		bindings = slices.DeleteFunc(bindings, func(b apinetwork.PortBinding) bool { return b.HostPort == "" })
		if len(bindings) == 0 {
			l = append(l, apicontainer.PortSummary{PrivatePort: p.Num(), Type: string(p.Proto())})
		}
		for _, b := range bindings {
			n, _ := strconv.ParseUint(b.HostPort, 10, 16)
			l = append(l, apicontainer.PortSummary{IP: b.HostIP, PrivatePort: p.Num(), PublicPort: uint16(n), Type: string(p.Proto())})
		}
	}
	slices.SortFunc(l, func(a, b apicontainer.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), strings.Compare(a.Type, b.Type), a.IP.Compare(b.IP), cmp.Compare(a.PublicPort, b.PublicPort))
	})
	return l
}
