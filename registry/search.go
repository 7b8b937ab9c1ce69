package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	apiregistry "github.com/moby/moby/api/types/registry"

	"hoy/lib/fault"
)

// SearchOptions say what to look for.
type SearchOptions struct {
	Term     string // a part of a name, with a registry's host before it or of the default registry
	Limit    int    // 1 to 100; 0: 25
	Official *bool  // only those that are, or are not; nil: either
	Stars    int    // at least
}

// Search asks the index of a registry (version 1 of its API) for repositories. Few
// registries but the default one have it.
func (c *Client) Search(ctx context.Context, o SearchOptions, a Auth) ([]apiregistry.SearchResult, error) {
	domain, term := splitTerm(o.Term)
	switch {
	case strings.Contains(o.Term, "://"):
		return nil, fault.New(fault.Invalid, "cannot search for %q: want a name without scheme", o.Term)
	case term == "":
		return nil, fault.New(fault.Invalid, "cannot search for nothing")
	case o.Limit < 0 || o.Limit > 100:
		return nil, fault.New(fault.Invalid, "limit %d is outside the range of [1, 100]", o.Limit)
	case o.Limit == 0:
		o.Limit = 25
	}
	e, err := c.index(ctx, domain, a)
	if err != nil {
		return nil, err
	}
	u := *e.base
	u.Path += "/search"
	u.RawQuery = url.Values{"q": {term}, "n": {strconv.Itoa(o.Limit)}}.Encode()
	q := request{method: http.MethodGet, url: &u, scopes: []string{"registry:catalog:search"}, header: http.Header{"X-Docker-Token": {"true"}}}
	if a.isFor(domain) && a.Username != "" && a.IdentityToken == "" {
		// The index never asks: it shows more to those whom it knows.
		q.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password)))
	}
	_, body, err := e.getAll(ctx, c, q)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "%s cannot be searched: it has no index (API version 1): %w", domain, err)
	}
	if err != nil {
		return nil, err
	}
	var r apiregistry.SearchResults
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fault.New(fault.Unavailable, "the index of %s answers with something else than a result: %w", domain, err)
	}
	return o.choose(r.Results), nil
}

// choose leaves out what is not looked for. What the index says about being built
// automatically is not to be trusted: clients are told that nothing is, as by docker.
func (o *SearchOptions) choose(all []apiregistry.SearchResult) []apiregistry.SearchResult {
	l := []apiregistry.SearchResult{}
	for _, r := range all {
		if o.Official != nil && *o.Official != r.IsOfficial || r.StarCount < o.Stars {
			continue
		}
		l = append(l, apiregistry.SearchResult{Name: r.Name, Description: r.Description, StarCount: r.StarCount, IsOfficial: r.IsOfficial})
	}
	return l
}

// splitTerm takes the registry's host from what is looked for. The default registry's own
// images are known without the folder they are in.
func splitTerm(term string) (domain, rest string) {
	host, name, ok := strings.Cut(term, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, name = defaultDomain, term
	}
	if host = domainOf(host); host == defaultDomain {
		name = strings.TrimPrefix(name, "library/")
	}
	return host, name
}

// index is the endpoint of a registry's index: beside the registry, or for the default one
// on a host of its own.
func (c *Client) index(ctx context.Context, domain string, a Auth) (*endpoint, error) {
	hosts, err := c.hostsOf(domain)
	if err != nil {
		return nil, err
	}
	h := hosts[len(hosts)-1]
	at := domain
	if domain == defaultDomain {
		at = "index." + domain
	}
	h.base, h.can = &url.URL{Scheme: "https", Host: at, Path: "/v1"}, docker.HostCapabilityResolve
	h.insecure = c.insecure.has(ctx, domain)
	return c.endpoint(ctx, h, domain, true, a)
}
