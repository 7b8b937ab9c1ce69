package container

import (
	"context"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/image"
	"hoy/keeper"
	"hoy/linux/idmap"
	"hoy/network"
	"hoy/runtime"
	"hoy/snapshot"
	"hoy/volume"
)

// What containers need from the packages below. Each is implemented by that
// package's main type.

// Images finds images and keeps their layers from being removed (image.Store).
type Images interface {
	Get(ctx context.Context, ref string) (*image.Image, error)
	Hold(ctx context.Context, ref string, p *ocispec.Platform) (img *image.Image, release func(), err error)
	Commit(ctx context.Context, o image.CommitOptions) (*image.Image, error)
}

// Layers keeps writable layers (snapshot.Layers).
type Layers interface {
	Create(id string, durable bool, size int64) (snapshot.Layer, error)
	Get(id string) snapshot.Layer
	Remove(id string) error
	List() ([]string, error)
}

// Volumes keeps volumes (volume.Store).
type Volumes interface {
	Use(r volume.Request, container string) (*volume.Volume, error)
	Release(name, container string)
	Mount(name, container string) error
	Unmount(name, container string)
	Tidy()
	Forsake(container string) []string
	Get(name string) (*volume.Volume, error)
	Remove(name string, force bool) error
	Populate(name, sub string, root *os.File, path string, ids *idmap.Map) error
}

// Networks gives containers their namespaces, addresses, names and ports (network.Networks).
type Networks interface {
	Get(ref string) (*network.Network, error)
	Attach(ctx context.Context, r network.AttachRequest) (*network.Sandbox, error)
	Leaving(containerID string)
	Sever(containerID string, netns *os.File)
	Detach(containerID string)
	Adopt(s network.Sandbox) error
	Sandbox(containerID string) *network.Sandbox
	Connect(ctx context.Context, containerID string, netns *os.File, r network.EndpointRequest) (*network.Sandbox, error)
	Disconnect(ctx context.Context, containerID string, netns *os.File, ref string) (*network.Sandbox, error)
	Publish(ctx context.Context, containerID string, add, remove []network.PortRequest) (*network.Sandbox, error)
	Rename(ctx context.Context, containerID, network string, names []string) error
	Unreach(ctx context.Context, containerID, network, other string) (*network.Sandbox, error)
}

// Runtime turns specifications into plans (runtime.Runtime).
type Runtime interface {
	Prepare(c runtime.Container) (*runtime.Prepared, error)
	PrepareExec(e runtime.Exec) (*runtime.Prepared, error)
	PrepareProgram(p runtime.Program) (*runtime.Prepared, error)
	AddInit(s *specs.Spec) error
}

// Keeper holds the processes (keeper.Client).
type Keeper interface {
	Spawn(ctx context.Context, r keeper.SpawnRequest) (*keeper.Process, error)
	Attach(ctx context.Context, id string, a keeper.Attachment) error
	Resize(ctx context.Context, id string, rows, cols uint16) error
	List(ctx context.Context) ([]keeper.Held, error)
	Exits() <-chan keeper.Exit
	Ack(ctx context.Context, id string, generation uint64) error
}
