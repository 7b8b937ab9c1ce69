package server

import (
	apiregistry "github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ManifestOptions say how a registry is asked for a manifest.
type ManifestOptions struct {
	Auth     apiregistry.AuthConfig
	Insecure bool   // the registry may be one without TLS, or without a certificate to be trusted
	From     string // of PutManifest: the repository that has the image's blobs
}

// Manifest is a manifest or index as its registry has it.
type Manifest struct {
	Descriptor ocispec.Descriptor // of an image with the platform that its configuration says
	Raw        []byte             // its digest is the descriptor's
}

// manifestOptions reads what both directions have.
func (r *request) manifestOptions() (o ManifestOptions, err error) {
	o.Insecure, o.From = r.flag("insecure"), r.value("from")
	o.Auth, err = r.credentials()
	return o, err
}

// manifestGet fetches a manifest for `hoy manifest`, which speaks to no registry itself.
func manifestGet(r *request) response {
	o, err := r.manifestOptions()
	if err != nil {
		return failure{err}
	}
	return result(r.server.Registries.Manifest(r.Context(), r.vars[0], o))
}

// manifestPut stores a manifest under a tag or a digest.
func manifestPut(r *request) response {
	o, err := r.manifestOptions()
	if err != nil {
		return failure{err}
	}
	var m Manifest
	if err := r.body(&m); err != nil {
		return failure{err}
	}
	return result(r.server.Registries.PutManifest(r.Context(), r.vars[0], m, o))
}
