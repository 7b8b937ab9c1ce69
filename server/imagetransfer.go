package server

import (
	"strings"

	"github.com/distribution/reference"

	"hoy/lib/fault"
)

// imagePull is the half of imageCreate that brings in an image from a registry.
func imagePull(r *request) response {
	// "pull -a" of old clients ends the name with a colon.
	named, err := parseReference(strings.TrimSuffix(r.value("fromImage"), ":"), r.value("tag"))
	if err != nil {
		return failure{err}
	}
	if reference.FamiliarName(named) == "scratch" {
		return failure{fault.New(fault.Forbidden, "'scratch' is a reserved name")}
	}
	o := ImageTransferOptions{Meta: r.meta()}
	if o.Platform, err = r.platformSince(32); err != nil {
		return failure{err}
	}
	if o.Auth, err = r.credentials(); err != nil {
		return failure{err}
	}
	return progress(func(r *request, say Progress) error {
		return ofRegistry(r.server.Images.Pull(r.Context(), named, o, say))
	})
}

func imagePush(r *request) response {
	named, err := parseReference(r.vars[0], r.value("tag"))
	if err != nil {
		return failure{err}
	}
	o := ImageTransferOptions{Meta: r.meta()}
	if r.version >= 46 { // older clients may send what they do not mean
		if o.Platform, err = r.jsonPlatform(r.value("platform")); err != nil {
			return failure{err}
		}
	}
	if o.Auth, err = r.credentials(); err != nil {
		return failure{err}
	}
	return progress(func(r *request, say Progress) error {
		return ofRegistry(r.server.Images.Push(r.Context(), named, o, say))
	})
}

// parseReference reads a name and, if there is one, the tag or digest beside it, which
// counts more than one in the name.
func parseReference(name, tag string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err == nil && tag != "" {
		named, err = reference.ParseNormalizedNamed(joinTag(reference.TrimNamed(named).String(), tag))
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid reference %q: %w", joinTag(name, tag), err)
	}
	return named, nil
}
