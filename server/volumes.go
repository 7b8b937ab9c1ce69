package server

import (
	"net/http"

	apivolume "github.com/moby/moby/api/types/volume"
)

func volumeList(r *request) response {
	f, err := r.filters("dangling", "driver", "label", "name")
	if err != nil {
		return failure{err}
	}
	list, err := r.server.Volumes.List(r.Context(), f)
	if list.Volumes == nil {
		list.Volumes = []apivolume.Volume{}
	}
	return result(list, err)
}

func volumeCreate(r *request) response {
	var c apivolume.CreateRequest
	if err := r.body(&c); err != nil {
		return failure{err}
	}
	if c.ClusterVolumeSpec != nil {
		return noSwarm(r)
	}
	v, err := r.server.Volumes.Create(r.Context(), c)
	if err != nil {
		return failure{err}
	}
	return created(v)
}

func volumeInspect(r *request) response {
	return result(r.server.Volumes.Inspect(r.Context(), r.vars[0]))
}

func volumeRemove(r *request) response {
	return done(http.StatusNoContent, r.server.Volumes.Remove(r.Context(), r.vars[0], r.flag("force")))
}
