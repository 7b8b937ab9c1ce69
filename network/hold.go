package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/fault"
	"hoy/network/firewall"
	"hoy/network/hostports"
)

// closeFiles closes what this change has opened: the keeper has its own.
func (c *change) closeFiles() {
	for _, r := range c.reserved {
		r.Close()
	}
	c.resolver.close()
}

// held tells whether the keeper holds anything of a container's network.
func (n *Networks) held(s *Sandbox) bool { return len(onHost(s.Ports)) > 0 || len(n.namedOf(s)) > 0 }

// hold has the keeper hold the container's resolver and ports. What it holds already is
// not sent again: it keeps what no socket comes with.
func (c *change) hold() error {
	n := c.n
	if !n.held(c.s) && !n.held(c.was) {
		return nil
	}
	c.undo.Add(func() {
		if err := c.holdAgain(); !fault.Is(err, fault.NotFound) { // or else Rehold does it
			n.warn("give back what the keeper holds of a network", err)
		}
	})
	if !n.held(c.s) {
		return n.keeper.ReleaseNetwork(c.ctx, c.s.ContainerID, c.s.Generation)
	}
	h := n.holdOf(c.s, c.netNS)
	if r := h.Resolver; r != nil {
		if c.resolver == nil && len(n.namedOf(c.was)) == 0 {
			var err error
			if c.resolver, err = openResolver(c.netNS); err != nil {
				return err
			}
		}
		if c.resolver != nil {
			r.UDP, r.TCP = c.resolver.udp, c.resolver.tcp
		}
	}
	sockets := c.sockets()
	for i, p := range h.Ports {
		h.Ports[i].Socket = sockets[hostPort{p.Proto, p.Host}]
	}
	err := n.keeper.HoldNetwork(c.ctx, h)
	if fault.Is(err, fault.NotFound) {
		return notHeld{err}
	}
	return err
}

// notHeld is the error of a keeper that lacks what the one had that died: Rehold has not
// come to this container yet.
type notHeld struct{ error }

func (e notHeld) Unwrap() error { return e.error }

// sockets are those that this change has opened for ports of the host.
func (c *change) sockets() map[hostPort]*os.File {
	all := map[hostPort]*os.File{}
	for _, r := range c.reserved {
		for _, s := range r.Sockets {
			all[hostPort{r.Proto, s.Host}] = s.File
		}
	}
	return all
}

// holdOf is what the keeper holds for a container, without sockets.
func (n *Networks) holdOf(s *Sandbox, netns *os.File) keeper.NetworkHold {
	h := keeper.NetworkHold{ID: s.ContainerID, Generation: s.Generation}
	if named := n.namedOf(s); len(named) > 0 {
		e4, e6 := gateways(s.Endpoints)
		h.Resolver = &keeper.Resolver{NetNS: netns, Networks: named, Zones: n.zones(named), Links: s.Links, Hosts: hostsOf(s.Resolver), Isolated: e4 == nil && e6 == nil}
		for _, a := range s.Resolver.Servers {
			h.Resolver.Servers = append(h.Resolver.Servers, netip.AddrPortFrom(a, 53))
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range onHost(s.Ports) {
		if !n.loose[hostPort{p.Proto, p.Host}] {
			h.Ports = append(h.Ports, keeper.HeldPort{Proto: p.Proto, Host: p.Host, Target: p.Container, Everybody: n.bare(p.Container.Addr().Is6())})
		}
	}
	return h
}

// holdAgain has the keeper hold what it did before the change, which has failed, with new
// sockets for what it has closed.
func (c *change) holdAgain() error {
	back := &change{n: c.n, ctx: context.WithoutCancel(c.ctx), s: c.was, was: c.s, netNS: c.netNS}
	defer back.closeFiles()
	still := map[hostPort]bool{}
	for _, p := range c.s.Ports {
		still[hostPortOf(p)] = true
	}
	for _, p := range onHost(c.was.Ports) {
		if !still[hostPortOf(p)] {
			if err := back.rebind(p); err != nil {
				return err
			}
		}
	}
	return back.hold()
}

// rebind opens a new socket for a port of the host that is published already.
func (c *change) rebind(p firewall.Port) error {
	again, err := hostports.Again(p.Proto, p.Host)
	if err != nil {
		return err
	}
	c.reserved = append(c.reserved, again)
	c.n.note(p.Proto, again.Sockets[0])
	return nil
}

// rebindFreed is rebind for a port whose socket was a keeper's that has died: the kernel
// may not be done with closing it. A port that another program has taken meanwhile is left
// to that, and the rest of what the container has is held all the same.
func (c *change) rebindFreed(p firewall.Port) {
	err := c.rebind(p)
	if errors.Is(err, unix.EADDRINUSE) && c.isHeldNow(p) {
		return
	}
	for deadline := time.Now().Add(time.Second); errors.Is(err, unix.EADDRINUSE) && time.Now().Before(deadline); err = c.rebind(p) {
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		c.n.note(p.Proto, hostports.Socket{Host: p.Host, Warning: "cannot hold a published port, which still leads to its container: " + err.Error()})
	}
}

// isHeldNow asks the keeper whether it holds a port of the container: one that is new may
// have got it already, by a start or another change that came first.
func (c *change) isHeldNow(p firewall.Port) bool {
	all, err := c.n.keeper.NetworkHolds(c.ctx)
	c.n.warn("ask the keeper what it holds", err)
	return slices.ContainsFunc(all, func(h keeper.HeldNetwork) bool {
		return h.ID == c.s.ContainerID && h.Generation == c.s.Generation && heldBy(&h)(p)
	})
}

// note remembers whether a reserved port has a socket, which the keeper can hold.
func (n *Networks) note(proto string, s hostports.Socket) {
	if s.File == nil {
		n.opts.Log.Warn(s.Warning)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.File == nil {
		n.loose[hostPort{proto, s.Host}] = true
	} else {
		delete(n.loose, hostPort{proto, s.Host})
	}
}
