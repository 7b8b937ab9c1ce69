package container

import (
	"context"
	"runtime"
	"sync"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"
)

// sizes returns the bytes of the writable layer on disk, and with the image's
// unpacked layers. It walks the layer, and ends with ctx.
func (c *Containers) sizes(ctx context.Context, rec *record) (rw, root int64, err error) {
	rw, _, err = c.o.Layers.Get(rec.ID).Usage(ctx)
	return rw, rw + rec.Image.Size, err
}

// walkers bounds the layers that are walked at once, by all requests together:
// listing thousands of containers with their sizes leaves others their turn.
type walkers struct {
	once  sync.Once
	slots chan struct{}
}

func (w *walkers) enter(ctx context.Context) error {
	w.once.Do(func() { w.slots = make(chan struct{}, 2*runtime.GOMAXPROCS(0)) })
	select {
	case w.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *walkers) leave() { <-w.slots }

// measure adds the sizes to a list of the records' summaries.
func (c *Containers) measure(ctx context.Context, records []*record, list []apicontainer.Summary) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, rec := range records {
		g.Go(func() error {
			if err := c.walkers.enter(ctx); err != nil {
				return err
			}
			defer c.walkers.leave()
			rw, root, err := c.sizes(ctx, rec)
			list[i].SizeRw, list[i].SizeRootFs = rw, root
			return err
		})
	}
	return g.Wait()
}
