package network

import (
	"context"

	"hoy/keeper"
	"hoy/network/firewall"
)

// What networks need of others. Each is implemented by that package's main type.

// Firewall keeps the packet filter's rules (firewall.Firewall).
type Firewall interface {
	Sync(networks []firewall.Network, ports []firewall.Port) error
	AddNetwork(n firewall.Network) error
	RemoveNetwork(link string) error
	Allow(link string, exceptions ...firewall.Allow) error
	Disallow(link string, exceptions ...firewall.Allow) error
	Publish(ports ...firewall.Port) error
	Unpublish(ports ...firewall.Port) error
	Remove() error
}

// Keeper holds sockets beside the containers' processes, and answers for names (keeper.Client).
type Keeper interface {
	HoldNetwork(ctx context.Context, h keeper.NetworkHold) error
	ReleaseNetwork(ctx context.Context, id string, generation uint64) error
	SetNames(ctx context.Context, network string, replace bool, set []keeper.NameEntry, remove []string) error
	DropNames(ctx context.Context, network string) error
	NetworkHolds(ctx context.Context) ([]keeper.HeldNetwork, error)
}

// alone stands for a firewall and a keeper that are not there.
type alone struct{}

func (alone) Sync([]firewall.Network, []firewall.Port) error                             { return nil }
func (alone) AddNetwork(firewall.Network) error                                          { return nil }
func (alone) RemoveNetwork(string) error                                                 { return nil }
func (alone) Publish(...firewall.Port) error                                             { return nil }
func (alone) Unpublish(...firewall.Port) error                                           { return nil }
func (alone) Allow(string, ...firewall.Allow) error                                      { return nil }
func (alone) Disallow(string, ...firewall.Allow) error                                   { return nil }
func (alone) Remove() error                                                              { return nil }
func (alone) HoldNetwork(context.Context, keeper.NetworkHold) error                      { return nil }
func (alone) ReleaseNetwork(context.Context, string, uint64) error                       { return nil }
func (alone) NetworkHolds(context.Context) ([]keeper.HeldNetwork, error)                 { return nil, nil }
func (alone) DropNames(context.Context, string) error                                    { return nil }
func (alone) SetNames(context.Context, string, bool, []keeper.NameEntry, []string) error { return nil }
