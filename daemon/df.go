package daemon

import (
	"context"
	"fmt"

	apicontainer "github.com/moby/moby/api/types/container"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	apivolume "github.com/moby/moby/api/types/volume"
	"golang.org/x/sync/errgroup"

	"hoy/container"
	"hoy/server"
)

// DiskUsage measures what images, containers and volumes take. Layers and volumes are
// walked, which takes its time and holds up nobody else.
func (a *about) DiskUsage(ctx context.Context, o server.DiskUsageOptions) (*system.DiskUsage, error) {
	u := &system.DiskUsage{}
	g, ctx := errgroup.WithContext(ctx)
	if o.Images {
		g.Go(func() (err error) { u.ImageUsage, err = a.imageUsage(ctx, o.Items); return err })
	}
	if o.Containers {
		g.Go(func() (err error) { u.ContainerUsage, err = a.containerUsage(ctx, o.Items); return err })
	}
	if o.Volumes {
		g.Go(func() (err error) { u.VolumeUsage, err = a.volumeUsage(ctx, o.Items); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("cannot measure what is on disk: %w", err)
	}
	return u, nil
}

// imageUsage counts what images share once.
func (a *about) imageUsage(ctx context.Context, items bool) (*apiimage.DiskUsage, error) {
	list, err := a.d.images.List(ctx, server.ImageListOptions{SharedSize: true})
	if err != nil {
		return nil, err
	}
	u := &apiimage.DiskUsage{TotalCount: int64(len(list))}
	if _, u.TotalSize, err = a.d.images.store.Sizes(ctx); err != nil {
		return nil, err
	}
	for _, img := range list {
		if ids, _ := a.d.containers.Users(img.ID); len(ids) > 0 {
			u.ActiveCount++
		} else {
			u.Reclaimable += img.Size - max(img.SharedSize, 0)
		}
	}
	if items {
		u.Items = list
	}
	return u, nil
}

func (a *about) containerUsage(ctx context.Context, items bool) (*apicontainer.DiskUsage, error) {
	list, err := a.d.containers.List(ctx, container.ListOptions{All: true, Size: true})
	if err != nil {
		return nil, err
	}
	u := &apicontainer.DiskUsage{TotalCount: int64(len(list))}
	for i := range list {
		u.TotalSize += list[i].SizeRw
		switch list[i].State {
		case apicontainer.StateRunning, apicontainer.StatePaused, apicontainer.StateRestarting:
			u.ActiveCount++
		default:
			u.Reclaimable += list[i].SizeRw
		}
		list[i].ImageManifestDescriptor = nil
	}
	if items {
		u.Items = list
	}
	return u, nil
}

func (a *about) volumeUsage(ctx context.Context, items bool) (*apivolume.DiskUsage, error) {
	u := &apivolume.DiskUsage{}
	for _, v := range a.d.volumes.List() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		u.TotalCount++
		size := v.Usage()
		u.TotalSize += size
		if len(v.Users) > 0 {
			u.ActiveCount++
		} else {
			u.Reclaimable += size
		}
		if items {
			shown := shownVolume(v)
			shown.UsageData = &apivolume.UsageData{Size: size, RefCount: int64(len(v.Users))}
			u.Items = append(u.Items, *shown)
		}
	}
	return u, nil
}
