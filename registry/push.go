package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// pushTo is the endpoint that is pushed to.
func (r *Repository) pushTo() (*endpoint, error) {
	able := r.able(docker.HostCapabilityPush)
	if len(able) == 0 {
		return nil, fault.New(fault.Forbidden, "hosts.toml of %s names no host that may be pushed to", reference.Domain(r.name))
	}
	return able[len(able)-1], nil
}

// Exists tells whether the repository has d, a blob or a manifest.
func (r *Repository) Exists(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	e, err := r.pushTo()
	if err != nil {
		return false, err
	}
	kind := "blobs"
	if known(d.MediaType) {
		kind = "manifests"
	}
	q := request{method: http.MethodHead, header: accept, url: e.url(reference.Path(r.name), "%s/%s", kind, d.Digest), scopes: r.pushScopes()}
	res, err := e.do(ctx, q)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, r.refusal("push", "", err)
	}
	res.Body.Close()
	return true, nil
}

// PutManifest stores a manifest or index, under a tag if that is not "". That it
// refers to another one is noted by the registry, or else under the tag that stands in
// for that (distribution-spec, "Pushing Manifests with Subject").
func (r *Repository) PutManifest(ctx context.Context, d ocispec.Descriptor, raw []byte, tag string) error {
	if err := d.Digest.Validate(); err != nil {
		return fault.New(fault.Invalid, "cannot push manifest %q: %w", d.Digest, err)
	}
	if d.Digest != d.Digest.Algorithm().FromBytes(raw) {
		return fault.New(fault.Invalid, "cannot push manifest %s: its content has another digest", d.Digest)
	}
	e, err := r.pushTo()
	if err != nil {
		return err
	}
	if tag == "" {
		tag = d.Digest.String()
	}
	if err := checkTag(tag); err != nil {
		return err
	}
	h, err := r.put(ctx, e, d.MediaType, raw, tag)
	if err != nil {
		return r.refusal("push", "", err)
	}
	if got, err := digest.Parse(h.Get("Docker-Content-Digest")); err == nil && got.Algorithm() == d.Digest.Algorithm() && got != d.Digest {
		return fault.New(fault.Unavailable, "registry %s has stored manifest %s under the digest %s", e, d.Digest, got)
	}
	if h.Get("OCI-Subject") == "" {
		return r.refusal("push", "", r.addReferrer(ctx, e, d, raw))
	}
	return nil
}

// put stores a manifest under a tag or its digest.
func (r *Repository) put(ctx context.Context, e *endpoint, mediaType string, raw []byte, tag string) (http.Header, error) {
	res, err := e.do(ctx, request{
		method: http.MethodPut, url: e.url(reference.Path(r.name), "manifests/%s", tag), body: raw,
		header: http.Header{"Content-Type": {mediaType}}, scopes: r.pushScopes(),
	})
	if err != nil {
		return nil, err
	}
	discard(res)
	return res.Header, nil
}

func (r *Repository) pushScopes() []string { return []string{scope(r.name, "pull,push")} }

// Mount makes a blob that another repository of the same registry has this one's too;
// false: the registry does not, it has to be uploaded. The upload that the registry opens
// in this case is gone on with by Upload.
func (r *Repository) Mount(ctx context.Context, d ocispec.Descriptor, from reference.Named) (bool, error) {
	if reference.Domain(from) != reference.Domain(r.name) || reference.Path(from) == reference.Path(r.name) {
		return false, nil
	}
	e, err := r.pushTo()
	if err != nil {
		return false, err
	}
	u := e.url(reference.Path(r.name), "blobs/uploads/")
	v := u.Query()
	v.Set("mount", d.Digest.String())
	v.Set("from", reference.Path(from))
	u.RawQuery = v.Encode()
	q := request{method: http.MethodPost, url: u, scopes: append(r.pushScopes(), scope(from, "pull"))}
	res, err := e.do(ctx, q)
	if err != nil {
		if s := (*statusError)(nil); errors.As(err, &s) {
			return false, nil // who may not read the other one may yet push here
		}
		return false, err
	}
	discard(res)
	if res.StatusCode == http.StatusCreated {
		return true, nil
	}
	if u, err := e.location(res); err == nil {
		r.uploads.keep(d.Digest, &upload{at: u, least: chunkMinimum(res.Header)})
	}
	return false, nil
}
