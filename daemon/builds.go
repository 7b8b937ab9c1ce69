package daemon

import (
	"context"
	"strconv"

	"github.com/distribution/reference"
	apibuild "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	apiregistry "github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/build"
	"hoy/container"
	"hoy/server"
)

// builds joins the builder with the events. It implements the server's Builds.
type builds struct {
	*build.Builder
	bus *container.Bus
}

// Prune removes cache of builds.
func (b builds) Prune(ctx context.Context, o build.PruneOptions) (*apibuild.CachePruneReport, error) {
	report, err := b.Builder.Prune(ctx, o)
	if err != nil {
		return nil, err
	}
	b.bus.Publish(events.BuilderEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return report, nil
}

// pullForBuild brings in an image that a build begins with.
func (i images) pullForBuild(ctx context.Context, ref reference.Named, p *ocispec.Platform, auth apiregistry.AuthConfig, say func(jsonstream.Message)) error {
	return i.Pull(ctx, ref, server.ImageTransferOptions{Platform: p, Auth: auth}, say)
}
