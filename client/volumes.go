package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/moby/moby/api/types/volume"
)

// VolumeClone makes the volume of the request with the files of another. This and the
// next three only hoy's engine can.
func (c *Client) VolumeClone(ctx context.Context, name string, r volume.CreateRequest) (out volume.Volume, err error) {
	return out, c.call(ctx, http.MethodPost, "/hoy/volumes/"+escape(name)+"/clone", nil, r, &out)
}

// VolumeRename gives a volume another name.
func (c *Client) VolumeRename(ctx context.Context, name, to string) error {
	return c.call(ctx, http.MethodPost, "/hoy/volumes/"+escape(name)+"/rename", url.Values{"name": {to}}, nil, nil)
}

// VolumeExport gives a volume's files as a tar archive, to be closed.
func (c *Client) VolumeExport(ctx context.Context, name string) (io.ReadCloser, error) {
	return c.download(ctx, "/hoy/volumes/"+escape(name)+"/files", nil)
}

// VolumeImport makes a volume of a tar archive.
func (c *Client) VolumeImport(ctx context.Context, r volume.CreateRequest, archive io.Reader) (out volume.Volume, err error) {
	q := url.Values{}
	for k, v := range r.Labels {
		q.Add("label", k+"="+v)
	}
	for k, v := range r.DriverOpts {
		q.Add("opt", k+"="+v)
	}
	resp, err := c.do(ctx, request{method: http.MethodPost, path: "/hoy/volumes/" + escape(r.Name) + "/files", query: q, stream: archive})
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	return out, json.NewDecoder(resp.Body).Decode(&out)
}
