package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
)

// ContainerPause freezes the processes of a container.
func (c *Client) ContainerPause(ctx context.Context, ref string) error {
	return c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/pause", nil, nil, nil)
}

// ContainerUnpause lets the processes of a paused container go on.
func (c *Client) ContainerUnpause(ctx context.Context, ref string) error {
	return c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/unpause", nil, nil, nil)
}

// ContainerRename gives a container another name.
func (c *Client) ContainerRename(ctx context.Context, ref, name string) error {
	return c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/rename", url.Values{"name": {name}}, nil, nil)
}

// UpdateConfig is docker's, and what docker has not.
type UpdateConfig struct {
	container.UpdateConfig
	OnUnhealthy string          `json:",omitempty"` // none, restart, stop; "" leaves what is
	PublishAdd  network.PortMap `json:",omitempty"`
	PublishRm   network.PortMap `json:",omitempty"` // a port without bindings: all it has
}

// ContainerUpdate changes limits and the restart policy of a container; zero values
// leave what is.
func (c *Client) ContainerUpdate(ctx context.Context, ref string, u UpdateConfig) (out container.UpdateResponse, err error) {
	return out, c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/update", nil, u, &out)
}

// ContainerTop lists the processes of a container by options of ps, "" for the usual.
func (c *Client) ContainerTop(ctx context.Context, ref, psOptions string) (out container.TopResponse, err error) {
	q := url.Values{}
	if psOptions != "" {
		q.Set("ps_args", psOptions)
	}
	return out, c.call(ctx, http.MethodGet, "/containers/"+escape(ref)+"/top", q, nil, &out)
}

// ContainerStats tells f what a container uses: once, or every second until ctx ends
// or the container is removed.
func (c *Client) ContainerStats(ctx context.Context, ref string, follow bool, f func(*container.StatsResponse) error) error {
	q := url.Values{"stream": {strconv.FormatBool(follow)}}
	return stream(ctx, c, request{method: http.MethodGet, path: "/containers/" + escape(ref) + "/stats", query: q}, f)
}

// ContainerPrune removes containers that do not run.
func (c *Client) ContainerPrune(ctx context.Context, f Filters) (out container.PruneReport, err error) {
	q := url.Values{}
	f.encode(q)
	return out, c.call(ctx, http.MethodPost, "/containers/prune", q, nil, &out)
}

// VolumePrune removes volumes that no container uses.
func (c *Client) VolumePrune(ctx context.Context, f Filters) (out volume.PruneReport, err error) {
	q := url.Values{}
	f.encode(q)
	return out, c.call(ctx, http.MethodPost, "/volumes/prune", q, nil, &out)
}
