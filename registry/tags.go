package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"

	"hoy/lib/fault"
)

// maxPages limits how far a list may go on: a registry could go on for ever.
const maxPages = 10_000

// Tags lists all tags, sorted.
func (r *Repository) Tags(ctx context.Context) (tags []string, err error) {
	err = r.each(ctx, docker.HostCapabilityResolve, func(e *endpoint) error {
		tags = nil
		u := e.url(reference.Path(r.name), "tags/list")
		return r.pages(ctx, e, u, nil, func(_ http.Header, page []byte) error {
			var l struct{ Tags []string }
			if err := json.Unmarshal(page, &l); err != nil {
				return fault.New(fault.Unavailable, "registry %s gives a list of tags that cannot be read: %w", e, err)
			}
			tags = append(tags, l.Tags...)
			return nil
		})
	})
	slices.Sort(tags)
	return slices.Compact(tags), r.refusal("pull", reference.FamiliarName(r.name), err)
}

// pages reads a list that goes on by links (distribution-spec, "Listing Tags").
func (r *Repository) pages(ctx context.Context, e *endpoint, u *url.URL, h http.Header, page func(http.Header, []byte) error) error {
	seen := map[string]bool{}
	for u != nil {
		if seen[u.String()] || len(seen) >= maxPages {
			return fault.New(fault.Unavailable, "registry %s gives a list without end", e)
		}
		seen[u.String()] = true
		res, body, err := e.getAll(ctx, r.c, request{method: http.MethodGet, url: u, header: h, scopes: []string{scope(r.name, "pull")}})
		if err != nil {
			return err
		}
		if err := page(res.Header, body); err != nil {
			return err
		}
		if u, err = e.next(res); err != nil {
			return err
		}
	}
	return nil
}

// next is the following page of a list, on the same host; nil: there is none.
func (e *endpoint) next(res *http.Response) (*url.URL, error) {
	link := nextLink(res.Header.Values("Link"))
	if link == "" {
		return nil, nil
	}
	u, err := res.Request.URL.Parse(link)
	if err != nil || u.Host != res.Request.URL.Host || u.User != nil {
		return nil, fault.New(fault.Unavailable, "registry %s names a next page elsewhere: %q", e, link)
	}
	u.Scheme = res.Request.URL.Scheme
	return u, nil
}

// nextLink is the target of the link whose relation is next (RFC 8288); "": none.
func nextLink(values []string) string {
	for _, v := range values {
		for v != "" {
			_, rest, ok := strings.Cut(v, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			parameters, _, _ := strings.Cut(rest, "<")
			for _, p := range strings.FieldsFunc(parameters, func(r rune) bool { return r == ';' || r == ',' }) {
				k, rel, _ := strings.Cut(strings.TrimSpace(p), "=")
				if strings.EqualFold(strings.TrimSpace(k), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(rel), `"`), "next") {
					return target
				}
			}
			v = rest
		}
	}
	return ""
}
