package build

import (
	"context"
	"strings"
	"time"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/http"
	bkworker "github.com/moby/buildkit/worker"
)

// What a request brings is a download that can be had once: the cache finds what it was
// unpacked to by its digest, and asks for the archive itself never again. So it is not
// kept, as other downloads are, but goes when the build has ended:
//
//	downloads    has archives of requests be fetched by a source of their own,
//	passing      the cache of which keeps nothing by itself,
//	results      and the solver does not have it keep them.

// downloads are those of BuildKit, and those of requests.
type downloads struct {
	source.Source
	requests source.Source
}

func (d downloads) Resolve(ctx context.Context, id source.Identifier, sm *session.Manager, v solver.Vertex) (source.SourceInstance, error) {
	if h, ok := id.(*http.HTTPIdentifier); ok && strings.HasPrefix(h.URL, contextURL) {
		return d.requests.Resolve(ctx, id, sm, v)
	}
	return d.Source.Resolve(ctx, id, sm, v)
}

// passing is a cache whose new records go when nobody uses them any more.
type passing struct{ cache.Accessor }

func (p passing) New(ctx context.Context, parent cache.ImmutableRef, g session.Group, opts ...cache.RefOption) (cache.MutableRef, error) {
	return p.Accessor.New(ctx, parent, g, append(opts, cache.CachePolicyDefault)...)
}

// results are BuildKit's, which are kept, but for archives of requests.
type results struct{ solver.CacheResultStorage }

func (r results) Save(res solver.Result, at time.Time) (solver.CacheResult, error) {
	ref, ok := res.Sys().(*bkworker.WorkerRef)
	if ok && ref.ImmutableRef != nil && strings.Contains(ref.ImmutableRef.GetDescription(), " "+contextURL) {
		return solver.CacheResult{ID: ref.ID(), CreatedAt: at}, nil
	}
	return r.CacheResultStorage.Save(res, at)
}
