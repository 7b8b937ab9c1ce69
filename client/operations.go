package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/moby/moby/api/types/container"
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
	OnUnhealthy string `json:",omitempty"` // none, restart, stop; "" leaves what is
}

// ContainerUpdate changes limits and the restart policy of a container; zero values
// leave what is.
func (c *Client) ContainerUpdate(ctx context.Context, ref string, u UpdateConfig) (out container.UpdateResponse, err error) {
	return out, c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/update", nil, u, &out)
}
