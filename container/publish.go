package container

import (
	"context"
	"maps"
	"slices"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/container/spec"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/network"
)

// Publish changes the published ports of a container, at once if it runs: those of remove
// go, those of add come. A port of remove without bindings loses all that it has; a
// binding without a host's port is any of that port's. Nothing changes when it fails.
func (c *Containers) Publish(ctx context.Context, ref string, add, remove apinetwork.PortMap) error {
	if err := spec.ValidatePorts(add); err != nil {
		return err
	}
	k, err := c.claimPresent(ctx, ref)
	if err != nil {
		return err
	}
	defer k.op.unlock()
	r := k.rec()
	if m := r.Host.NetworkMode; m.IsHost() || m.IsNone() || m.IsContainer() {
		return fault.New(fault.Invalid, "container %s has no ports of its own to publish: its network is %s", r.Name, m)
	}
	after, gone, err := changedPorts(r.Host.PortBindings, add, remove)
	if err != nil {
		return err
	}
	var s *network.Sandbox
	if k.process != nil {
		if s, err = c.o.Networks.Publish(ctx, k.id, requestsOf(add), requestsOf(gone)); err != nil {
			return err
		}
	}
	k.setHost(func(h *apicontainer.HostConfig) { h.PortBindings = after })
	if s != nil {
		k.setSandbox(s)
		if run := k.rec().State.Running; run != nil {
			err = c.writeRunning(run)
		}
		if err == nil {
			err = failpoint.Hit(failpoint.ContainerMoved)
		}
	}
	if err == nil {
		err = c.save(k)
	}
	return err
}

func requestsOf(m apinetwork.PortMap) []network.PortRequest {
	r := record{Config: &apicontainer.Config{}, Host: &apicontainer.HostConfig{PortBindings: m}}
	return r.portRequests()
}

// changedPorts returns what is published after a change, and which of before is not.
func changedPorts(before, add, remove apinetwork.PortMap) (after, gone apinetwork.PortMap, err error) {
	after, gone = apinetwork.PortMap{}, apinetwork.PortMap{}
	for p, bindings := range before {
		after[p] = slices.Clone(bindings)
	}
	for p, wanted := range remove {
		if len(wanted) == 0 {
			wanted = []apinetwork.PortBinding{{}}
		}
		for _, w := range wanted {
			matches := func(b apinetwork.PortBinding) bool {
				return (w.HostPort == "" || w.HostPort == b.HostPort) && (!w.HostIP.IsValid() || w.HostIP == b.HostIP)
			}
			if !slices.ContainsFunc(after[p], matches) {
				return nil, nil, fault.New(fault.Invalid, "port %s is not published%s", p, at(w))
			}
			for _, b := range after[p] {
				if matches(b) {
					gone[p] = append(gone[p], b)
				}
			}
			after[p] = slices.DeleteFunc(after[p], matches)
		}
	}
	for p, bindings := range add {
		if len(bindings) == 0 {
			bindings = []apinetwork.PortBinding{{}}
		}
		after[p] = append(after[p], bindings...)
	}
	maps.DeleteFunc(after, func(_ apinetwork.Port, b []apinetwork.PortBinding) bool { return len(b) == 0 })
	return after, gone, nil
}

// at tells where a binding is looked for.
func at(b apinetwork.PortBinding) string {
	switch {
	case b.HostIP.IsValid():
		return " at " + b.HostIP.String() + " port " + b.HostPort
	case b.HostPort != "":
		return " at the host's port " + b.HostPort
	}
	return ""
}
