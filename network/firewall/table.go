package firewall

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/nft"
)

// Options configure Open.
type Options struct {
	Table string // name of the engine's table, "hoy-" and the name of its default bridge
	Log   *slog.Logger

	// Families whose packets are left alone (dockerd's --iptables=false, --ip6tables=false).
	// Of both there is no table.
	Bare4, Bare6 bool
}

// Firewall is the one table of an engine. Sync writes all of it; the other methods
// change a part, each in one transaction, so that a packet meets the old rules or the
// new ones:
//
//	f, _ := firewall.Open(firewall.Options{Table: "hoy-hoy0"})
//	f.Sync(networks, ports)              // at start; what was there is replaced
//	f.AddNetwork(n)                      // a few rules
//	f.Publish(p, q); f.Unpublish(p, q)   // an element of a map each
//	f.Remove()                           // nothing is left
//
// Connections that were let through pass whatever happens to the table: the kernel's
// connection tracking knows them. A table that somebody else has deleted ("nft flush
// ruleset") is written anew by the next change, or by Watch at once.
//
// The way of a packet to a published port, and the chains (plan.go, network.go):
//
//	prerouting --> admission --> published --> forward --> into-LINK --> postrouting --> source-LINK
//	output ------------------------^
type Firewall struct {
	opts Options

	mu       sync.Mutex
	networks map[string]Network // by link
	ports    map[hostPort]Port
	policy   Policy
	flows    *cleaner
}

// hostPort is what a published port is found by.
type hostPort struct {
	proto string
	host  string // netip.AddrPort, or link and container's where the port is routed
}

// Open returns the firewall of a table that Sync, or the first change, writes.
func Open(o Options) (*Firewall, error) {
	if o.Table == "" {
		return nil, fault.New(fault.Invalid, "the firewall's table has no name")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	f := &Firewall{opts: o, networks: map[string]Network{}, ports: map[hostPort]Port{}}
	f.flows = newCleaner(func(err error) { o.Log.Warn("a client may go on sending to a container that is gone", "err", err) })
	return f, nil
}

// Sync makes the table hold exactly these networks and ports.
func (f *Firewall) Sync(networks []Network, ports []Port) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := state{map[string]Network{}, map[hostPort]Port{}}
	for _, n := range networks {
		if n, ok := f.ruled(n); ok {
			next.networks[n.Link] = n
		}
	}
	for _, p := range ports {
		if !f.bare(p.Container.Addr()) {
			next.ports[next.key(p)] = p
		}
	}
	gone := f.former(next)
	kept := f.flows.keep(ports)
	if err := f.write(next); err != nil {
		f.flows.forget(kept, nil)
		return err
	}
	f.flows.forget(gone, ports)
	return nil
}

// state is what the table says.
type state struct {
	networks map[string]Network
	ports    map[hostPort]Port
}

func (f *Firewall) state() state { return state{f.networks, f.ports} }

// next returns a copy of the present state to change.
func (f *Firewall) next() state {
	return state{maps.Clone(f.networks), maps.Clone(f.ports)}
}

// write replaces the table.
func (f *Firewall) write(s state) error {
	for _, n := range s.networks {
		if err := prepare(n); err != nil && !gone(n.Link) { // who brings that up again adds the network anew
			return err
		}
	}
	for tries := 1; ; tries++ {
		err := f.replace(s)
		if err == nil {
			f.networks, f.ports = s.networks, s.ports
			return nil
		}
		if !elsewhere(err) || tries == maxTries {
			return err
		}
	}
}

func (f *Firewall) replace(s state) error {
	var b nft.Batch
	if f.opts.Bare4 && f.opts.Bare6 {
		b.Delete(f.opts.Table) // an engine before may have had it
		return b.Commit()
	}
	t := f.opts.spare(plan(f.opts.Table, s, f.policy))
	if err := nft.Prepare(t); err != nil {
		return err
	}
	b.Replace(t)
	return b.Commit()
}

// maxTries is how often the table may change between our look at it and our change.
const maxTries = 5

// elsewhere tells whether a change failed because the table is not as we thought.
func elsewhere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY)
}

// change commits a part. Where the table is not as we left it, all of it is written.
func (f *Firewall) change(b *nft.Batch, s state) error {
	err := b.Commit()
	if elsewhere(err) {
		f.opts.Log.Warn("somebody has changed the firewall's table: it is written anew", "table", f.opts.Table)
		return f.write(s)
	}
	if err == nil {
		f.networks, f.ports = s.networks, s.ports
	}
	return err
}

// AddNetwork lets a network's containers out, and nobody in but to what is published.
// One of its link that is there already is replaced.
func (f *Firewall) AddNetwork(n Network) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.ruled(n)
	if !ok {
		return nil
	}
	if err := prepare(n); err != nil {
		return err
	}
	s := f.next()
	var b nft.Batch
	if old, ok := s.networks[n.Link]; ok {
		replaceNetwork(&b, f.opts.Table, old, n)
	} else {
		addNetwork(&b, f.opts.Table, n)
	}
	s.networks[n.Link] = n
	return f.change(&b, s)
}

// RemoveNetwork removes the rules of a link; without any it is no error. Its ports must
// have been unpublished.
func (f *Firewall) RemoveNetwork(link string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, ok := f.networks[link]
	if !ok {
		return nil
	}
	s := f.next()
	delete(s.networks, link)
	var b nft.Batch
	removeNetwork(&b, f.opts.Table, old)
	return f.change(&b, s)
}

// Allow lets containers of a network without ICC reach each other at some ports.
func (f *Firewall) Allow(link string, exceptions ...Allow) error {
	return f.allow(link, func(n *Network) {
		for _, a := range exceptions {
			if !slices.Contains(n.Allowed, a) {
				n.Allowed = append(n.Allowed, a)
			}
		}
	})
}

// Disallow takes exceptions back; those that are not there are no error.
func (f *Firewall) Disallow(link string, exceptions ...Allow) error {
	return f.allow(link, func(n *Network) {
		n.Allowed = slices.DeleteFunc(n.Allowed, func(a Allow) bool { return slices.Contains(exceptions, a) })
	})
}

func (f *Firewall) allow(link string, edit func(*Network)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.next()
	n, ok := s.networks[link]
	if !ok {
		return fault.New(fault.NotFound, "the firewall has no network of link %s", link)
	}
	old := n
	n.Allowed = slices.Clone(n.Allowed)
	edit(&n)
	s.networks[link] = n
	var b nft.Batch
	four, six := links(old.Allowed)
	b.Remove(f.opts.Table, links4, four...)
	b.Remove(f.opts.Table, links6, six...)
	four, six = links(n.Allowed)
	b.Add(f.opts.Table, links4, four...)
	b.Add(f.opts.Table, links6, six...)
	return f.change(&b, s)
}

// Remove deletes the table; containers' connections are no longer translated.
func (f *Firewall) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b nft.Batch
	b.Delete(f.opts.Table)
	if err := b.Commit(); err != nil {
		return err
	}
	f.flows.forget(slices.Collect(maps.Values(f.ports)), nil)
	f.networks, f.ports = map[string]Network{}, map[hostPort]Port{}
	f.flows.settle()
	return nil
}

// Watch writes the table anew when somebody else deletes it, until ctx ends.
func (f *Firewall) Watch(ctx context.Context) error {
	return nft.WatchTable(ctx, f.opts.Table, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.networks) == 0 {
			return
		}
		f.opts.Log.Warn("somebody has deleted the firewall's table: it is written anew", "table", f.opts.Table)
		if err := f.write(f.state()); err != nil {
			f.opts.Log.Error("cannot restore the firewall", "err", err)
		}
	})
}
