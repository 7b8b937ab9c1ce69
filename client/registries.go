package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TransferOptions say how images are moved from and to a registry.
type TransferOptions struct {
	Tag      string               // or digest; "" for all tags
	Platform string               // os[/architecture[/variant]]; "" for what docker does
	Auth     *registry.AuthConfig // nil: none
}

// ImagePull brings in an image, or all of a repository.
func (c *Client) ImagePull(ctx context.Context, name string, o TransferOptions, f Progress) error {
	q := url.Values{"fromImage": {name}}
	if o.Tag != "" {
		q.Set("tag", o.Tag)
	}
	if o.Platform != "" {
		q.Set("platform", o.Platform)
	}
	return c.progress(ctx, request{method: http.MethodPost, path: "/images/create", query: q, auth: authHeader(o.Auth)}, f)
}

// ImagePush sends an image to its registry, or all of a repository.
func (c *Client) ImagePush(ctx context.Context, name string, o TransferOptions, f Progress) error {
	q := url.Values{}
	if o.Tag != "" {
		q.Set("tag", o.Tag)
	}
	if o.Platform != "" {
		if err := addPlatforms(q, "platform", []string{o.Platform}); err != nil {
			return err
		}
	}
	return c.progress(ctx, request{method: http.MethodPost, path: "/images/" + escape(name) + "/push", query: q, auth: authHeader(o.Auth)}, f)
}

// RegistryLogin has a registry check credentials.
func (c *Client) RegistryLogin(ctx context.Context, a registry.AuthConfig) (out registry.AuthResponse, err error) {
	return out, c.call(ctx, http.MethodPost, "/auth", nil, a, &out)
}

// ImageSearch asks the index of a registry for names like term; limit 0 is the engine's.
func (c *Client) ImageSearch(ctx context.Context, term string, limit int, f Filters, a *registry.AuthConfig) (out []registry.SearchResult, err error) {
	q := url.Values{"term": {term}}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	f.encode(q)
	return out, c.ask(ctx, request{method: http.MethodGet, path: "/images/search", query: q, auth: authHeader(a)}, &out)
}

// authHeader is what X-Registry-Auth has. There always is one: engines older than hoy
// want it.
func authHeader(a *registry.AuthConfig) string {
	if a == nil {
		a = &registry.AuthConfig{}
	}
	b, _ := json.Marshal(a) // texts can always be encoded
	return base64.URLEncoding.EncodeToString(b)
}

// Manifest is a manifest or index as its registry has it.
type Manifest struct {
	Descriptor ocispec.Descriptor // of an image with its platform
	Raw        []byte
}

// ManifestOptions say how the engine asks a registry.
type ManifestOptions struct {
	Auth     *registry.AuthConfig
	Insecure bool   // it may be one without TLS, or without a certificate to be trusted
	From     string // of ManifestPut: the repository that has the image's blobs
}

// ManifestGet has the engine fetch what a name stands for in its registry.
func (c *Client) ManifestGet(ctx context.Context, ref string, o ManifestOptions) (m Manifest, err error) {
	return m, c.manifest(ctx, request{method: http.MethodGet}, ref, o, &m)
}

// ManifestPut has the engine store a manifest under a tag or digest. Of m.Descriptor the
// media type counts; the whole descriptor is the answer.
func (c *Client) ManifestPut(ctx context.Context, ref string, m Manifest, o ManifestOptions) (d ocispec.Descriptor, err error) {
	b, err := json.Marshal(m)
	if err != nil {
		return d, err
	}
	return d, c.manifest(ctx, request{method: http.MethodPut, body: b}, ref, o, &d)
}

func (c *Client) manifest(ctx context.Context, r request, ref string, o ManifestOptions, out any) error {
	r.path, r.query, r.auth = "/hoy/manifests/"+escape(ref), url.Values{}, authHeader(o.Auth)
	flag(r.query, "insecure", o.Insecure)
	if o.From != "" {
		r.query.Set("from", o.From)
	}
	err := c.ask(ctx, r, out)
	if StatusOf(err) == http.StatusNotFound && strings.HasSuffix(err.Error(), "page not found") {
		return fmt.Errorf("the engine at %s is not hoy's: it hands no manifests out", c.Host())
	}
	return err
}
