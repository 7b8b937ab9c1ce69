package registry

import (
	"context"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// Hosts gives the ways to a domain as containerd's resolver takes them, for who brings
// credentials of its own: the mirrors first, the registry itself last.
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
	return hosts, nil
}
