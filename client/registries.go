package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/moby/moby/api/types/registry"
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
