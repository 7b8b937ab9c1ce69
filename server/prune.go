package server

// containerPrune removes what does not run.
func containerPrune(r *request) response {
	f, err := r.filters("label", "label!", "until")
	if err != nil {
		return failure{err}
	}
	return result(r.server.Containers.Prune(r.Context(), f))
}

// volumePrune removes what is not used; up to version 1.41 named volumes too.
func volumePrune(r *request) response {
	f, err := r.filters("all", "label", "label!")
	if err != nil {
		return failure{err}
	}
	if r.version < 42 {
		if f == nil {
			f = map[string][]string{}
		}
		f["all"] = []string{"true"}
	}
	return result(r.server.Volumes.Prune(r.Context(), f))
}
