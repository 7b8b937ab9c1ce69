package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/moby/moby/api/types/image"
)

// addPlatforms adds platforms, written os[/architecture[/variant]], in the API's form.
func addPlatforms(q url.Values, key string, platforms []string) error {
	for _, text := range platforms {
		part := strings.Split(text, "/")
		if len(part) < 2 || len(part) > 3 || part[0] == "" || part[1] == "" {
			return fmt.Errorf("invalid platform %q: want os/architecture[/variant]", text)
		}
		p := map[string]string{"os": part[0], "architecture": part[1]}
		if len(part) == 3 {
			p["variant"] = part[2]
		}
		b, err := json.Marshal(p)
		if err != nil {
			return err
		}
		q.Add(key, string(b))
	}
	return nil
}

// ImageManifests is ImageList with the manifests of each image.
func (c *Client) ImageManifests(ctx context.Context, all bool, f Filters) (out []image.Summary, err error) {
	q := url.Values{"manifests": {"1"}}
	flag(q, "all", all)
	f.encode(q)
	return out, c.call(ctx, http.MethodGet, "/images/json", q, nil, &out)
}

// ImageSave gives images as one archive, to be closed.
func (c *Client) ImageSave(ctx context.Context, refs, platforms []string) (io.ReadCloser, error) {
	q := url.Values{"names": refs}
	if err := addPlatforms(q, "platform", platforms); err != nil {
		return nil, err
	}
	return c.download(ctx, "/images/get", q)
}

// ImageHistory lists the steps by which an image was made, the last first.
func (c *Client) ImageHistory(ctx context.Context, ref string, platforms []string) (out []image.HistoryResponseItem, err error) {
	q := url.Values{}
	if err := addPlatforms(q, "platform", platforms); err != nil {
		return nil, err
	}
	return out, c.call(ctx, http.MethodGet, "/images/"+escape(ref)+"/history", q, nil, &out)
}

// ImagePrune removes images that nothing uses.
func (c *Client) ImagePrune(ctx context.Context, f Filters) (out image.PruneReport, err error) {
	q := url.Values{}
	f.encode(q)
	return out, c.call(ctx, http.MethodPost, "/images/prune", q, nil, &out)
}
