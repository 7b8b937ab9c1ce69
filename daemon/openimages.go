package daemon

import (
	"context"
	"io"
	"sync"
	"time"

	"hoy/image"
	"hoy/lib/fault"
	"hoy/server"
	"hoy/signature"
	"hoy/toolbox"
)

// openImages puts the image store together with what it needs of others: containers that
// use images, events, registries, the built-in image.
func (d *Daemon) openImages(ctx context.Context, p *parts) error {
	d.images = images{p.store, p.containers, d.bus, new(sync.Mutex), d.registries.Load, func() *signature.Policy { return d.options().signatures }}
	p.store.Carry(toolbox.Ref, func(ctx context.Context) error { return installToolbox(ctx, d.images) })
	if _, err := p.store.Get(ctx, toolbox.Ref); err == nil {
		if err := installToolbox(ctx, d.images); err != nil {
			d.log.Warn("the built-in image is not brought up to date", "error", err)
		}
	}
	client, err := d.o.registries(d.log.Warn)
	if err != nil {
		return err
	}
	d.registries.Store(client)
	p.store.SetTransfers(d.o.MaxConcurrentDownloads, d.o.MaxConcurrentUploads)
	return nil
}

// installToolbox brings in the built-in image where it is missing or older. The older
// one goes, unless containers use it or it has another name.
func installToolbox(ctx context.Context, i images) error {
	present, old := "", ""
	if img, err := i.store.Get(ctx, toolbox.Ref); err == nil {
		present, old = img.Config.Config.Labels[toolbox.Label], img.ID
	}
	return toolbox.Install(ctx, present, func(ctx context.Context, archive io.Reader, changes []string, created time.Time) error {
		_, err := i.store.Import(ctx, archive, image.ImportOptions{Ref: toolbox.Ref, Message: "built into hoyd", Changes: changes, Created: created})
		if err != nil || old == "" {
			return err
		}
		if left, err := i.store.Get(ctx, old); err != nil || len(left.RepoTags) > 0 {
			return nil
		}
		if _, err = i.Remove(ctx, old, server.ImageRemoveOptions{}); fault.Is(err, fault.Conflict) {
			return nil
		}
		return err
	})
}
