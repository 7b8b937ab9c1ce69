package server

import (
	"strconv"

	"hoy/build"
	"hoy/lib/fault"
)

// buildPrune removes cache. Up to version 1.47 there was one size, keep-storage; now that
// is the old name of reserved-space.
func buildPrune(r *request) response {
	o := build.PruneOptions{All: r.flag("all")}
	var err error
	if o.Filters, err = r.filters("until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private", "label", "label!"); err != nil {
		return failure{err}
	}
	sizes := map[string]*int64{"keep-storage": &o.Reserved}
	if r.version >= 48 {
		sizes["max-used-space"], sizes["min-free-space"] = &o.MaxUsed, &o.MinFree
		if r.value("reserved-space") != "" {
			delete(sizes, "keep-storage")
			sizes["reserved-space"] = &o.Reserved
		}
	}
	for name, into := range sizes {
		text := r.value(name)
		if text == "" {
			continue
		}
		if *into, err = strconv.ParseInt(text, 10, 64); err != nil {
			return failure{fault.New(fault.Invalid, "%s is in bytes and expects an integer, got %v: %w", name, text, err)}
		}
	}
	return result(r.server.Builds.Prune(r.Context(), o))
}
