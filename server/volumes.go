package server

import (
	"context"
	"io"
	"net/http"
	"strings"

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

// volumeClone makes the volume of the body with the files of the one in the path.
func volumeClone(r *request) response {
	var c apivolume.CreateRequest
	if err := r.body(&c); err != nil {
		return failure{err}
	}
	v, err := r.server.Volumes.Clone(r.Context(), r.vars[0], c)
	if err != nil {
		return failure{err}
	}
	return created(v)
}

// volumeRename has the new name in the parameter name.
func volumeRename(r *request) response {
	return done(http.StatusNoContent, r.server.Volumes.Rename(r.Context(), r.vars[0], r.value("name")))
}

// volumeExport answers with a tar archive. A volume that is not there is told before.
func volumeExport(r *request) response {
	name := r.vars[0]
	if _, err := r.server.Volumes.Inspect(r.Context(), name); err != nil {
		return failure{err}
	}
	return tarStream(func(ctx context.Context, w io.Writer) error { return r.server.Volumes.Export(ctx, name, w) })
}

// volumeImport makes a volume of the tar archive in the body, with the labels and driver
// options of the parameters label and opt, each key=value.
func volumeImport(r *request) response {
	c := apivolume.CreateRequest{Name: r.vars[0], Labels: pairs(r.URL.Query()["label"]), DriverOpts: pairs(r.URL.Query()["opt"])}
	v, err := r.server.Volumes.Import(r.Context(), c, r.Body)
	if err != nil {
		return failure{err}
	}
	return created(v)
}

func pairs(list []string) map[string]string {
	var m map[string]string
	for _, p := range list {
		k, v, _ := strings.Cut(p, "=")
		if m == nil {
			m = map[string]string{}
		}
		m[k] = v
	}
	return m
}
