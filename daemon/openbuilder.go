package daemon

import (
	"context"
	"net/netip"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/moby/api/types/events"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/build"
	"hoy/image"
)

// openBuilder makes the builder, which opens nothing before it is used.
func (d *Daemon) openBuilder(ctx context.Context, store *image.Store, gateway, gateway6 netip.Addr) (*build.Builder, error) {
	if !gateway.IsValid() {
		gateway = gateway6
	}
	b, err := build.Open(ctx, build.Options{
		Root: filepath.Join(d.o.DataRoot, "build"), Images: store, Gateway: gateway, Log: d.log,
		Registries: func(domain string) ([]docker.RegistryHost, error) {
			return d.registries.Load().Hosts(context.Background(), domain)
		},
		Pull: d.images.pullForBuild,
		Tag:  d.images.Tag,
		Exported: func(ctx context.Context, im ocispec.Descriptor) {
			d.images.event(events.ActionCreate, im.Digest.String(), im.Digest.String(), nil)
		},
		Named: func(ctx context.Context, name string, _ ocispec.Descriptor) { d.images.tagged(ctx, name) },
	})
	if err != nil {
		return nil, err
	}
	d.closing("builder", b)
	return b, nil
}
