package registry

import (
	"context"
	"net/http"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// Hosts gives the ways to a domain as containerd's resolver takes them, for who brings
// credentials of its own: the mirrors first, the registry itself last. The client of the
// first can fetch the tokens for all, which BuildKit has it do.
func (c *Client) Hosts(ctx context.Context, domain string) ([]docker.RegistryHost, error) {
	endpoints, err := c.endpoints(ctx, domain, Auth{})
	if err != nil {
		return nil, err
	}
	hosts := make([]docker.RegistryHost, len(endpoints))
	for n, e := range endpoints {
		hosts[n] = docker.RegistryHost{
			Client: e.http, Host: e.base.Host, Scheme: e.base.Scheme, Path: e.base.Path, Capabilities: e.can, Header: e.header,
		}
	}
	if all := ways(endpoints); len(all) > 1 {
		hosts[0].Client = &http.Client{Transport: all, CheckRedirect: all.checkRedirect}
	}
	return hosts, nil
}

// ways speak to each of several endpoints by its own client, with its certificates, and to
// anybody else by that of the registry itself: it is the one whose tokens another may give.
type ways []*endpoint

// clientOf is the one for a request, or for that which has led to it.
func (w ways) clientOf(r *http.Request) *http.Client {
	for r.Response != nil {
		r = r.Response.Request
	}
	for _, e := range w {
		if e.base.Host == r.URL.Host {
			return e.http
		}
	}
	return w[len(w)-1].http
}

func (w ways) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.clientOf(r).Transport.RoundTrip(r)
}

func (w ways) checkRedirect(r *http.Request, via []*http.Request) error {
	return w.clientOf(via[0]).CheckRedirect(r, via)
}
