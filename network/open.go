package network

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"hoy/lib/failpoint"
	"hoy/network/hostports"
	"hoy/network/ipam"
)

// Open brings up the networks that this root had, with their bridges.
func Open(ctx context.Context, o Options) (*Networks, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Pools = slices.SortedStableFunc(slices.Values(o.Pools), func(a, b ipam.Pool) int { return a.Base.Addr().Compare(b.Base.Addr()) })
	if len(o.Pools) == 0 {
		o.Pools = append(ipam.DefaultPools(), ipam.Reserve()...)
	}
	if !slices.ContainsFunc(o.Pools, func(p ipam.Pool) bool { return p.Base.Addr().Is6() }) {
		o.Pools = append(slices.Clip(o.Pools), ipam.UniqueLocal(o.EngineID))
	}
	if o.Ready == 0 {
		o.Ready = 8
	}
	n := &Networks{opts: o, firewall: o.Firewall, keeper: o.Keeper, segments: map[string]*segment{}, attached: map[string]*member{}, loose: map[hostPort]bool{}, reheld: make(chan struct{})}
	n.left.L = &n.mu
	n.anywhere = hostports.Any()
	if o.Firewall == nil {
		n.firewall = alone{}
	}
	if o.Keeper == nil {
		n.keeper = alone{}
	}
	n.none = newPool(min(4, o.Ready), o.Log, func() (*prepared, error) { return n.isolated(false) })
	n.changing.Lock()
	defer n.changing.Unlock()
	if err := n.restore(); err != nil {
		return nil, err
	}
	if err := n.save(n.records(nil)); err != nil {
		return nil, err
	}
	for _, s := range n.all() {
		index, err := n.up(s)
		if err == nil {
			err = failpoint.Hit(failpoint.NetworkRestored, s.Link)
		}
		if err == nil {
			s.index, s.unguarded, s.admit, s.direct = index, o.Unguarded, o.Admit, o.Direct
			continue
		}
		if s.Predefined() {
			n.none.close()
			return nil, err
		}
		// The other networks work; who joins this one is told.
		o.Log.Warn("cannot bring a network up", "network", s.Name, "error", err)
	}
	return n, nil
}

// records returns the networks as they are saved: all, and next, but without those that
// have been removed.
func (n *Networks) records(next *segment, without ...*segment) []*Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	var l []*Network
	for _, s := range n.all() {
		if !slices.Contains(without, s) && (next == nil || s.ID != next.ID) {
			l = append(l, &s.Network)
		}
	}
	if next != nil {
		l = append(l, &next.Network)
	}
	return l
}

// restore reads the networks that there were, and makes the predefined ones.
func (n *Networks) restore() error {
	saved, err := n.load()
	if err != nil {
		return err
	}
	before := map[string]*Network{}
	for _, net := range saved {
		if net.Predefined() {
			before[net.Name] = net
			continue
		}
		s, err := restored(net)
		if err != nil {
			return err
		}
		n.segments[net.ID] = s
	}
	for name, driver := range map[string]string{"host": "host", "none": "null"} {
		net := Network{Name: name, Driver: driver, ID: newID(), Created: time.Now().UTC(), IPv4: true, IPAMDriver: "default"}
		if old := before[name]; old != nil {
			net.ID = old.ID
			if !old.Created.IsZero() {
				net.Created = old.Created
			}
		}
		n.segments[net.ID] = &segment{Network: net}
	}
	return n.restoreDefault(before["bridge"])
}

// restored is a network of an earlier engine.
func restored(net *Network) (*segment, error) {
	s := &segment{Network: *net}
	var err error
	if s.settings, _, err = readSettings(net.Driver, net.Options); err != nil {
		return nil, fmt.Errorf("cannot use network %s: %w", net.Name, err)
	}
	if net.ConfigOnly {
		return s, nil // it says what others shall be
	}
	for _, sub := range net.Subnets {
		h := ipam.NewHosts(sub.Prefix, sub.Range)
		if sub.Gateway.IsValid() {
			h.Fix(sub.Gateway)
		}
		for _, a := range sub.Reserved {
			h.Fix(a)
		}
		s.hosts = append(s.hosts, h)
	}
	return s, nil
}
