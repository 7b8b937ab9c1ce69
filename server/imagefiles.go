package server

import (
	"context"
	"io"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container"
	"hoy/lib/fault"
)

// imageSave answers with an archive of the image in the path, or of those in the query.
func imageSave(r *request) response {
	refs := r.form()["names"]
	if r.vars[0] != "" {
		refs = []string{r.vars[0]}
	}
	platforms, err := r.platforms("platform")
	switch {
	case err != nil:
		return failure{err}
	case r.version < 48:
		platforms = nil
	case r.version < 52 && len(platforms) > 1:
		return failure{fault.New(fault.Invalid, "multiple platform parameters are not supported in this API version; use API version 1.52 or later")}
	}
	return tarStream(func(ctx context.Context, w io.Writer) error {
		return r.server.Images.Save(ctx, refs, platforms, w)
	})
}

func imageHistory(r *request) response {
	p, err := r.platform()
	if err != nil {
		return failure{err}
	}
	return result(r.server.Images.History(r.Context(), r.vars[0], p))
}

func imageAttestations(r *request) response {
	platforms, err := r.platforms("platform")
	if err != nil {
		return failure{err}
	}
	o := AttestationOptions{Statements: r.flag("statement")}
	switch len(platforms) {
	case 0:
	case 1:
		o.Platform = &platforms[0]
	default:
		return failure{fault.New(fault.Invalid, "only one platform value is currently supported")}
	}
	for _, t := range r.form()["type"] {
		if t = strings.TrimSpace(t); t != "" {
			o.Types = append(o.Types, t)
		}
	}
	return result(r.server.Images.Attestations(r.Context(), r.vars[0], o))
}

func imagePrune(r *request) response {
	f, err := r.filters("dangling", "label", "label!", "until")
	if err != nil {
		return failure{err}
	}
	return result(r.server.Images.Prune(r.Context(), f))
}

func containerCommit(r *request) response {
	var config *apicontainer.Config
	if err := r.body(&config); err != nil {
		return failure{err}
	}
	id, err := r.server.Containers.Commit(r.Context(), container.CommitRequest{
		Container: r.value("container"), Ref: joinTag(r.value("repo"), r.value("tag")),
		Author: r.value("author"), Comment: r.value("comment"),
		Pause:  !r.form().Has("pause") || r.flag("pause"),
		Config: config, Changes: r.form()["changes"],
	})
	if err != nil {
		return failure{err}
	}
	return created(apicontainer.CommitResponse{ID: id})
}
