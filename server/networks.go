package server

import apinetwork "github.com/moby/moby/api/types/network"

func networkList(r *request) response {
	f, err := r.filters("dangling", "driver", "id", "label", "name", "scope", "type")
	if err != nil {
		return failure{err}
	}
	list, err := r.server.Networks.List(r.Context(), f)
	if list == nil {
		list = []apinetwork.Summary{}
	}
	return result(list, err)
}

func networkInspect(r *request) response {
	return result(r.server.Networks.Inspect(r.Context(), r.vars[0]))
}
