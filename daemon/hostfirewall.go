package daemon

import (
	"context"
	"slices"
	"sync"

	"hoy/network/firewall"
	"hoy/network/hostfw"
)

// guard makes published ports obey the host's own firewall, and has that let the packets
// of containers pass.
type guard struct {
	*firewall.Firewall
	host  hostfw.Host
	table string

	mu       sync.Mutex
	warnings []string
}

// follow takes the host's firewall over as it is now, and as it changes until ctx ends.
func (g *guard) follow(ctx context.Context, d *Daemon) error {
	if err := g.obey(d, g.host.Read()); err != nil {
		return err
	}
	go func() {
		err := g.host.Follow(ctx, func(s hostfw.State) {
			if err := g.obey(d, s); err != nil {
				d.log.Error("published ports do not obey the host's firewall as it is now", "error", err)
			}
		})
		if err != nil && ctx.Err() == nil {
			d.log.Error("published ports obey the host's firewall as it was at the start", "error", err)
		}
	}()
	go func() {
		if err := g.Watch(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("nobody sees to it that the engine's nftables table stays", "error", err)
		}
	}()
	return nil
}

// obey makes the host's policy that of published ports.
func (g *guard) obey(d *Daemon, s hostfw.State) error {
	if err := g.SetPolicy(s.Policy); err != nil {
		return err
	}
	warnings := s.Warnings
	more, err := g.host.Pass(g.table)
	if err != nil {
		more = append(more, "packets of containers may not pass the host's firewall: "+err.Error())
	}
	warnings = append(slices.Clone(warnings), more...)
	g.mu.Lock()
	old := g.warnings
	g.warnings = warnings
	g.mu.Unlock()
	for _, w := range warnings {
		if !slices.Contains(old, w) {
			d.log.Warn(w)
		}
	}
	return nil
}

// Warnings are what the administrator should know of the host's firewall.
func (g *guard) Warnings() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.warnings
}

// Remove takes the engine's rules away, and what lets its packets pass.
func (g *guard) Remove() error {
	err := g.Firewall.Remove()
	if uerr := g.host.Unpass(g.table); err == nil {
		err = uerr
	}
	return err
}
