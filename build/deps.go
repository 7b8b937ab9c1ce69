package build

import (
	"context"

	"hoy/keeper"
	"hoy/network"
	"hoy/runtime"
)

// What steps need of the packages below. Each is implemented by that package's main type.

// Runtime turns specifications into plans (runtime.Runtime).
type Runtime interface {
	Prepare(c runtime.Container) (*runtime.Prepared, error)
	PrepareExec(e runtime.Exec) (*runtime.Prepared, error)
}

// Keeper holds the steps' processes (keeper.Client).
type Keeper interface {
	Spawn(ctx context.Context, r keeper.SpawnRequest) (*keeper.Process, error)
	Await(id string) (exit <-chan keeper.Exit, forget func())
	Ack(ctx context.Context, id string, generation uint64) error
}

// Networks gives steps their namespaces (network.Networks).
type Networks interface {
	Attach(ctx context.Context, r network.AttachRequest) (*network.Sandbox, error)
	Detach(containerID string)
}
