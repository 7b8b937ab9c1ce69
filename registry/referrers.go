package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// Referrers lists the manifests whose subject is d; of a registry without this interface
// those under the tag that stands in for it.
func (r *Repository) Referrers(ctx context.Context, d digest.Digest) (l []ocispec.Descriptor, err error) {
	if err := d.Validate(); err != nil {
		return nil, fault.New(fault.Invalid, "cannot list the referrers of %q: %w", d, err)
	}
	err = r.each(ctx, docker.HostCapabilityReferrers, func(e *endpoint) error {
		l, err = r.referrers(ctx, e, d)
		return err
	})
	return l, r.refusal("pull", reference.FamiliarName(r.name), err)
}

func (r *Repository) referrers(ctx context.Context, e *endpoint, d digest.Digest) (l []ocispec.Descriptor, err error) {
	u := e.url(reference.Path(r.name), "referrers/%s", d)
	err = r.pages(ctx, e, u, http.Header{"Accept": {ocispec.MediaTypeImageIndex}}, func(h http.Header, page []byte) error {
		var i ocispec.Index
		if err := json.Unmarshal(page, &i); err != nil || !strings.HasPrefix(h.Get("Content-Type"), ocispec.MediaTypeImageIndex) {
			return fault.New(fault.NotFound, "registry %s answers with something else than referrers", e)
		}
		l = append(l, i.Manifests...)
		return nil
	})
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Invalid, fault.Forbidden: // each for a path that is not known
		return r.tagged(ctx, e, d)
	}
	return l, err
}

// tagged reads the index under the tag that stands in for the interface
// (distribution-spec, "Referrers Tag Schema").
func (r *Repository) tagged(ctx context.Context, e *endpoint, d digest.Digest) ([]ocispec.Descriptor, error) {
	q := request{method: http.MethodGet, url: e.url(reference.Path(r.name), "manifests/%s", referrersTag(d)), header: accept, scopes: []string{scope(r.name, "pull")}}
	_, body, err := e.getAll(ctx, r.c, q)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var i ocispec.Index
	if err := json.Unmarshal(body, &i); err != nil {
		return nil, fault.New(fault.Unavailable, "registry %s has something else than an index under %s: %w", e, referrersTag(d), err)
	}
	return i.Manifests, nil
}

// referrersTag is the digest, cut to what a tag may have.
func referrersTag(d digest.Digest) string {
	a, e := d.Algorithm().String(), d.Encoded()
	return a[:min(len(a), 32)] + "-" + e[:min(len(e), 64)]
}

// addReferrer adds a manifest that has been pushed to what refers to its subject, for a
// registry that does not by itself: it would have said so in its answer.
func (r *Repository) addReferrer(ctx context.Context, e *endpoint, d ocispec.Descriptor, raw []byte) error {
	var m ocispec.Manifest
	if json.Unmarshal(raw, &m) != nil || m.Subject == nil || m.Subject.Digest.Validate() != nil {
		return nil
	}
	l, err := r.tagged(ctx, e, m.Subject.Digest)
	if err != nil {
		return err
	}
	for _, o := range l {
		if o.Digest == d.Digest {
			return nil
		}
	}
	d.ArtifactType, d.Annotations, d.Platform = m.ArtifactType, m.Annotations, nil
	if d.ArtifactType == "" {
		d.ArtifactType = m.Config.MediaType
	}
	i := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: append(l, d)}
	index, err := json.Marshal(i)
	if err != nil {
		return err
	}
	_, err = r.put(ctx, e, ocispec.MediaTypeImageIndex, index, referrersTag(m.Subject.Digest))
	return err
}
