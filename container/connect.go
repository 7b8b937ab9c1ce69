package container

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/container/spec"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/network"
)

// Connect puts a container on one more network, at once if it runs. e may be nil.
func (c *Containers) Connect(ctx context.Context, ref, net string, e *apinetwork.EndpointSettings) error {
	if e == nil {
		e = &apinetwork.EndpointSettings{}
	}
	k, err := c.claimPresent(ctx, ref)
	if err != nil {
		return err
	}
	defer k.op.unlock()
	r := k.rec()
	if r.Host.NetworkMode.IsContainer() {
		return errBesideHost
	}
	n, err := c.o.Networks.Get(net)
	if err != nil && r.isRunning() {
		return err
	}
	name := net
	if n != nil {
		name = n.Name
	}
	if err := (spec.Host{Subnets: c.subnets}).ValidateEndpoint(name, e); err != nil {
		return err
	}
	if _, err := network.CheckEndpointOptions(e.DriverOpts); err != nil {
		return err
	}
	if err := c.joinable(r, n, name); err != nil {
		return err
	}
	if k.process == nil {
		k.setEndpoint(name, e)
		return c.save(k)
	}
	netns, err := openNetNS(k.process)
	if err != nil {
		return err
	}
	defer netns.Close()
	s, err := c.o.Networks.Connect(ctx, k.id, netns, c.endpointRequest(r, name, e))
	if err != nil {
		return err
	}
	k.setEndpoint(name, e)
	return c.moved(k, events.ActionConnect, name, s)
}

// claimPresent is claim for a container that is not being removed.
func (c *Containers) claimPresent(ctx context.Context, ref string) (*Container, error) {
	k, err := c.claim(ctx, ref)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	gone := k.removing || c.index.gone(k) || k.rec().State.Status == apicontainer.StateDead
	k.mu.Unlock()
	if gone {
		k.op.unlock()
		return nil, fault.New(fault.Internal, "Container %s is marked for removal and cannot be connected or disconnected to the network", k.id)
	}
	return k, nil
}

// joinable refuses what does not go together. n is nil for a network that is not there.
func (c *Containers) joinable(r *record, n *network.Network, name string) error {
	if n != nil && n.Driver == "host" && !r.Host.NetworkMode.IsHost() {
		return fault.New(fault.Invalid, "cannot connect container to host network - container must be created in host network mode")
	}
	for other := range r.Endpoints {
		switch {
		case other == name && r.State.endpoint(name) != nil:
			return fault.New(fault.Forbidden, "endpoint with name %s already exists in network %s", r.Name, name)
		case other == name:
		case other == apinetwork.NetworkHost || name == apinetwork.NetworkHost:
			return errBesideHost
		case other == apinetwork.NetworkNone || name == apinetwork.NetworkNone:
			return errBesideNone
		}
	}
	return nil
}

// Disconnect takes a container off a network, at once if it runs.
func (c *Containers) Disconnect(ctx context.Context, ref, net string, force bool) error {
	k, err := c.claimPresent(ctx, ref)
	if err != nil {
		return err
	}
	defer k.op.unlock()
	r := k.rec()
	n, err := c.o.Networks.Get(net)
	if err != nil && k.process != nil && !force {
		return err
	}
	name := net
	if n != nil {
		name = n.Name
	}
	if _, on := r.Endpoints[name]; !on {
		the := " the"
		if k.process != nil {
			the = "" // as docker says it
		}
		return fault.New(fault.Internal, "container %s is not connected to%s network %s", k.id, the, name)
	}
	if k.process == nil {
		k.setEndpoint(name, nil)
		return c.save(k)
	}
	if r.Host.NetworkMode.IsHost() {
		return fault.New(fault.Invalid, "cannot disconnect container from host network - container was created in host network mode")
	}
	netns, err := openNetNS(k.process)
	if err != nil {
		return err
	}
	defer netns.Close()
	s, err := c.o.Networks.Disconnect(ctx, k.id, netns, name)
	if err != nil {
		return err
	}
	k.setEndpoint(name, nil)
	return c.moved(k, events.ActionDisconnect, name, s)
}

// setEndpoint records what is asked of a network; with nil, that the container is not on it.
func (k *Container) setEndpoint(name string, e *apinetwork.EndpointSettings) {
	k.update(func(r *record) {
		r.Endpoints = maps.Clone(r.Endpoints)
		if e == nil {
			delete(r.Endpoints, name)
			return
		}
		if r.Endpoints == nil {
			r.Endpoints = map[string]*apinetwork.EndpointSettings{}
		}
		r.Endpoints[name] = e
	})
}

// moved records and tells that a running container has joined or left a network.
func (c *Containers) moved(k *Container, a events.Action, name string, s *network.Sandbox) error {
	old := k.rec().State
	k.setSandbox(s)
	rec := k.rec()
	if rec.State.Running == nil {
		return nil // it has ended meanwhile
	}
	err := c.writeRunning(rec.State.Running)
	if err == nil {
		err = failpoint.Hit(failpoint.ContainerMoved)
	}
	if err == nil {
		err = c.save(k)
	}
	if err == nil {
		err = c.refreshEtc(rec, rec, old.endpoints(), s.Endpoints)
	}
	for _, state := range []*state{&old, &rec.State} {
		if e := state.endpoint(name); e != nil && (a == events.ActionConnect) == (state == &rec.State) {
			c.networkEvents(k, a, []network.Endpoint{*e})
		}
	}
	return err
}

// setSandbox stores a changed connection to the world of a running container.
func (k *Container) setSandbox(s *network.Sandbox) {
	k.update(func(r *record) {
		if r.State.Running == nil {
			return // it has ended meanwhile
		}
		run := *r.State.Running
		run.Sandbox, run.Asked = s, &asked{r.Endpoints, r.Host.PortBindings}
		r.State.Running = &run
	})
}

// refreshEtc brings the names in a running container's /etc up to date, after its record
// was old and its places in networks were before. What the container has written there itself stays.
func (c *Containers) refreshEtc(old, rec *record, before, now []network.Endpoint) error {
	was, err := c.hosts(old, before)
	if err != nil {
		return err
	}
	is, err := c.hosts(rec, now)
	if err != nil {
		return err
	}
	err = c.rewriteEtc(rec, "hosts", func(b []byte) []byte { return network.AmendHosts(b, was, is) })
	if err != nil {
		return err
	}
	return c.rewriteEtc(rec, "resolv.conf", func(b []byte) []byte {
		if !bytes.Equal(b, c.resolvConf(rec, before)) {
			return b // the container's own
		}
		return c.resolvConf(rec, now)
	})
}

// rewriteEtc changes a file under /etc of a running container.
func (c *Containers) rewriteEtc(rec *record, name string, change func([]byte) []byte) error {
	path := filepath.Join(c.dir(rec.ID), name)
	b, err := os.ReadFile(path)
	if err == nil {
		if n := change(b); !bytes.Equal(b, n) {
			err = c.writeEtc(rec, path, n)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot change /etc/%s: %w", name, err)
	}
	return nil
}
