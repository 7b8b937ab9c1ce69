package registry

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// Media types of Docker's schema 2; those of schema 1 are refused.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1  = "application/vnd.docker.distribution.manifest.v1+"
)

var manifestTypes = []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerList, dockerManifest}

// accept asks for every type of manifest. Some registries read only the first line of
// several, others only lines of one.
var accept = http.Header{"Accept": {strings.Join(manifestTypes, ", ") + ", */*;q=0.1"}}

// Resolve says what a tag, or a digest, stands for: an index or a manifest. Schema 1 is
// refused.
func (r *Repository) Resolve(ctx context.Context, tag string) (d ocispec.Descriptor, err error) {
	if err := checkTag(tag); err != nil {
		return d, err
	}
	err = r.each(ctx, docker.HostCapabilityResolve, func(e *endpoint) error {
		d, err = r.resolve(ctx, e, tag)
		return err
	})
	return d, r.refusal("pull", r.refer(tag), err)
}

// checkTag refuses what is neither a tag nor a digest: it becomes a part of a path.
func checkTag(tag string) error {
	if _, err := digest.Parse(tag); err == nil {
		return nil
	}
	if tag == "" || reference.TagRegexp.FindString(tag) != tag {
		return fault.New(fault.Invalid, "%q is neither a tag nor a digest", tag)
	}
	return nil
}

// refer is the name of a tag or digest as people write it.
func (r *Repository) refer(tag string) string {
	if _, err := digest.Parse(tag); err == nil {
		return reference.FamiliarName(r.name) + "@" + tag
	}
	return reference.FamiliarName(r.name) + ":" + tag
}

// resolve asks for the headers. A registry that refuses that, or leaves out what is
// needed, is asked for the manifest itself.
func (r *Repository) resolve(ctx context.Context, e *endpoint, tag string) (ocispec.Descriptor, error) {
	q := request{method: http.MethodHead, url: e.url(reference.Path(r.name), "manifests/%s", tag), header: accept, scopes: []string{scope(r.name, "pull")}}
	res, err := e.do(ctx, q)
	if err == nil {
		res.Body.Close()
		d := descriptorOf(res.Header, res.ContentLength, tag)
		if d.Digest != "" && d.Size > 0 && known(d.MediaType) {
			return d, r.check(d, tag)
		}
	} else if !refusesHead(err) {
		return ocispec.Descriptor{}, err
	}
	q.method = http.MethodGet
	res, body, err := e.getAll(ctx, r.c, q)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := descriptorOf(res.Header, int64(len(body)), tag)
	algorithm := digest.Canonical
	if d.Digest != "" {
		algorithm = d.Digest.Algorithm()
	}
	got := algorithm.FromBytes(body)
	if d.Digest != "" && got != d.Digest {
		return d, fault.New(fault.Unavailable, "registry %s gives a manifest for %s that is not the one it names: it has the digest %s, not %s", e, r.refer(tag), got, d.Digest)
	}
	d.Digest = got
	if d.MediaType = typeOf(d.MediaType, body); !known(d.MediaType) {
		return d, fault.New(fault.Invalid, "%s is neither an image nor an index of images: the registry says it is %q", r.refer(tag), d.MediaType)
	}
	return d, r.check(d, tag)
}

// refusesHead tells whether GET may do where HEAD does not: a registry has no body to say
// why, so that the same refusal is at least explained.
func refusesHead(err error) bool {
	return !fault.Is(err, fault.Unavailable)
}

// descriptorOf is what headers say. The digest is that which was asked for if none is
// named.
func descriptorOf(h http.Header, size int64, tag string) (d ocispec.Descriptor) {
	d.Size = size
	d.MediaType, _, _ = mime.ParseMediaType(h.Get("Content-Type"))
	if n, err := digest.Parse(h.Get("Docker-Content-Digest")); err == nil {
		d.Digest = n
	} else if n, err := digest.Parse(tag); err == nil {
		d.Digest = n
	}
	return d
}

// check refuses what cannot be pulled, or is not what was asked for.
func (r *Repository) check(d ocispec.Descriptor, tag string) error {
	asked, err := digest.Parse(tag)
	switch {
	case strings.HasPrefix(d.MediaType, dockerSchema1):
		return fault.New(fault.Invalid, "%s is an image of Docker's schema 1, which is not supported any more: who publishes it has to push it again with a newer version", r.refer(tag))
	case err == nil && d.Digest != asked:
		return fault.New(fault.Unavailable, "the registry answers for %s with the digest %s", r.refer(tag), d.Digest)
	case d.Size > maxManifest:
		return fault.New(fault.Invalid, "the manifest of %s has %d bytes; %d are the most there can be", r.refer(tag), d.Size, maxManifest)
	}
	return nil
}

// known tells whether a type is that of a manifest; schema 1 is known, and refused.
func known(mediaType string) bool {
	return slices.Contains(manifestTypes, mediaType) || strings.HasPrefix(mediaType, dockerSchema1)
}

// typeOf is a manifest's type: what it says itself, where the header is of no use. An OCI
// manifest may leave it out (image-spec, manifest.md).
func typeOf(header string, body []byte) string {
	if known(header) {
		return header
	}
	var m struct {
		SchemaVersion int
		MediaType     string
		Manifests     json.RawMessage
		Config        json.RawMessage
	}
	switch err := json.Unmarshal(body, &m); {
	case err != nil:
	case m.MediaType != "":
		return m.MediaType
	case m.SchemaVersion == 1:
		return dockerSchema1 + "json"
	case m.SchemaVersion == 2 && m.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case m.SchemaVersion == 2 && m.Config != nil:
		return ocispec.MediaTypeImageManifest
	}
	return header
}
