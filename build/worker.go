package build

import (
	"context"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/source/http"
	"github.com/moby/buildkit/util/tracing"
	"github.com/moby/buildkit/worker/base"
)

// worker is BuildKit's, with an exporter of our own for images in the store.
type worker struct {
	*base.Worker
	b *Builder
}

func newWorker(ctx context.Context, b *Builder, o base.WorkerOpt) (*worker, error) {
	w, err := base.NewWorker(ctx, o)
	if err != nil {
		return nil, err
	}
	// Downloads, with the archives that requests bring among them.
	transport := b.front.bodies.over(tracing.DefaultTransport)
	w.HTTPSource, err = http.NewSource(http.Opt{CacheAccessor: w.CacheManager(), Transport: transport})
	if err != nil {
		return nil, err
	}
	passing, err := http.NewSource(http.Opt{CacheAccessor: passing{w.CacheManager()}, Transport: transport})
	if err != nil {
		return nil, err
	}
	w.SourceManager.Register(downloads{w.HTTPSource, passing})
	return &worker{w, b}, nil
}

// exporterMoby is what docker's clients call an image in the engine's store.
const exporterMoby = "moby"

// Exporter returns an exporter by its name.
func (w *worker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	if name != exporterMoby && name != client.ExporterImage {
		return w.Worker.Exporter(name, sessions)
	}
	e, err := w.Worker.Exporter(client.ExporterImage, sessions)
	if err != nil {
		return nil, err
	}
	return &imageExporter{Exporter: e, b: w.b}, nil
}
