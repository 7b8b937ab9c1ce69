package daemon

import (
	"context"
	"path/filepath"

	"hoy/network"
	"hoy/network/firewall"
)

// openNetworks opens the firewall's table and the networks.
func (d *Daemon) openNetworks(ctx context.Context, p *parts) error {
	o := &d.o
	rules, err := firewall.Open(firewall.Options{Table: o.table(), Log: d.log, Bare4: !o.IPTables, Bare6: !o.IP6Tables})
	if err != nil {
		return err
	}
	d.guard = &guard{Firewall: rules, table: o.table()}
	p.networks, err = network.Open(ctx, network.Options{
		Root: filepath.Join(o.DataRoot, "network"), Firewall: d.guard, Keeper: p.keeper, EngineID: d.id, Bridge: o.Bridge, Foreign: o.foreignBridge(), BIP: o.BIP, BIP6: o.BIP6,
		FixedCIDR: o.FixedCIDR, FixedCIDR6: o.FixedCIDR6, Gateway: o.Gateway, Gateway6: o.Gateway6, IPv6: o.IPv6,
		NoICC: !o.ICC, NoMasq: !o.IPMasq, MTU: o.MTU, Bind: o.BindIP, Pools: o.Pools, UserMap: o.UserMap, Unguarded: o.Unguarded, Admit: o.Admit, Direct: o.DirectRouting, Bare4: !o.IPTables, Bare6: !o.IP6Tables, Log: d.log,
	})
	if err != nil {
		return err
	}
	d.closing("networks", p.networks)
	if !o.IPTables && !o.IP6Tables {
		return nil // the host's firewall is left alone, too
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.closers.Add(stop)
	return d.guard.follow(following, d)
}

// foreignBridge tells whether the bridge is to be there already: dockerd makes none but its
// own, and a name that is mistyped shall be no new network.
func (o *Options) foreignBridge() bool {
	return o.dockerd && o.Bridge != DefaultBridge && o.Bridge != "docker0" && o.Bridge != "none"
}

// rehold gives a new keeper what the one that died held of networks; nets is nil before
// they are open, and Settle does it then.
func (d *Daemon) rehold(ctx context.Context, nets *network.Networks) {
	if nets == nil {
		return
	}
	if err := nets.Rehold(ctx, d.containers.NetNS); err != nil {
		d.log.Warn("the new keeper does not answer for all names", "error", err)
	}
}

// table is the name of the engine's nftables table. Engines side by side have bridges of
// different names; those without a default network are told apart by their exec roots.
func (o *Options) table() string {
	if o.Bridge != "none" {
		return "hoy-" + o.Bridge
	}
	return "hoy-" + shortHash(o.ExecRoot)
}
