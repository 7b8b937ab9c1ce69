package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"hoy/lib/diskuse"
	"hoy/lib/reach"
)

// ImageList returns images; all includes those that have no name.
func (c *Client) ImageList(ctx context.Context, all bool, f Filters) (out []image.Summary, err error) {
	q := url.Values{}
	flag(q, "all", all)
	f.encode(q)
	return out, c.call(ctx, http.MethodGet, "/images/json", q, nil, &out)
}

// ImageInspect returns all there is to say about an image, and the engine's words.
func (c *Client) ImageInspect(ctx context.Context, ref, platform string) (out image.InspectResponse, raw json.RawMessage, err error) {
	q := url.Values{}
	if platform != "" {
		err = addPlatforms(q, "platform", []string{platform})
	}
	if err == nil {
		err = c.inspect(ctx, "/images/"+escape(ref)+"/json", q, &out, &raw)
	}
	return out, raw, err
}

// ImageRemove takes a name from an image, and the image away with its last name.
func (c *Client) ImageRemove(ctx context.Context, ref string, force, noPrune bool, platforms []string) (out []image.DeleteResponse, err error) {
	q := url.Values{}
	flag(q, "force", force)
	flag(q, "noprune", noPrune)
	if err := addPlatforms(q, "platforms", platforms); err != nil {
		return nil, err
	}
	return out, c.call(ctx, http.MethodDelete, "/images/"+escape(ref), q, nil, &out)
}

// ImageTag gives an image another name.
func (c *Client) ImageTag(ctx context.Context, ref, repo, tag string) error {
	q := url.Values{"repo": {repo}}
	if tag != "" {
		q.Set("tag", tag)
	}
	return c.call(ctx, http.MethodPost, "/images/"+escape(ref)+"/tag", q, nil, nil)
}

// Progress calls f for each message of an engine that works through something.
type Progress func(jsonstream.Message) error

// ImageLoad sends an archive of images.
func (c *Client) ImageLoad(ctx context.Context, archive io.Reader, quiet bool, platforms []string, f Progress) error {
	q := url.Values{}
	flag(q, "quiet", quiet)
	if err := addPlatforms(q, "platform", platforms); err != nil {
		return err
	}
	return c.progress(ctx, request{method: http.MethodPost, path: "/images/load", query: q, stream: archive}, f)
}

// DiskUsage measures what images, containers and volumes take, each for itself.
func (c *Client) DiskUsage(ctx context.Context) (out *system.DiskUsage, err error) {
	return out, c.call(ctx, http.MethodGet, "/system/df", url.Values{"verbose": {"1"}}, nil, &out)
}

// Disk accounts for every byte below the engine's data root. Only hoy's engine can:
// the error of others is an *Error of status 404.
func (c *Client) Disk(ctx context.Context) (out *diskuse.Report, err error) {
	return out, c.call(ctx, http.MethodGet, "/hoy/disk", nil, nil, &out)
}

// MigrateDocker takes over what a Docker engine on the engine's machine has.
func (c *Client) MigrateDocker(ctx context.Context, root, containerd string, f Progress) error {
	q := url.Values{"root": {root}}
	if containerd != "" {
		q.Set("containerd", containerd)
	}
	return c.progress(ctx, request{method: http.MethodPost, path: "/hoy/migrate/docker", query: q}, f)
}

// ImportOptions says what ImageImport makes of a root file system.
type ImportOptions struct {
	Source             string // "-" for the archive given, or a URL
	Repo, Tag, Message string
	Platform           string
	Changes            []string // Dockerfile instructions
}

// ImageImport makes an image of a root file system in a tar archive.
func (c *Client) ImageImport(ctx context.Context, archive io.Reader, o ImportOptions, f Progress) error {
	q := url.Values{"fromSrc": {o.Source}}
	for k, v := range map[string]string{"repo": o.Repo, "tag": o.Tag, "message": o.Message, "platform": o.Platform} {
		if v != "" {
			q.Set(k, v)
		}
	}
	for _, ch := range o.Changes {
		q.Add("changes", ch)
	}
	return c.progress(ctx, request{method: http.MethodPost, path: "/images/create", query: q, stream: archive}, f)
}

func (c *Client) progress(ctx context.Context, r request, f Progress) error {
	return stream(ctx, c, r, func(m *jsonstream.Message) error {
		if m.Error != nil {
			return &Error{Status: http.StatusInternalServerError, Message: m.Error.Message}
		}
		return f(*m)
	})
}

// stream gives f every JSON value of an answer as it comes.
func stream[T any](ctx context.Context, c *Client, r request, f func(*T) error) error {
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, ok := resp.Body.(*body); ok {
		// What the engine does for us ends with the connection.
		defer context.AfterFunc(ctx, func() { b.cn.Close() })()
	}
	for d := json.NewDecoder(resp.Body); ; {
		v := new(T)
		if err := d.Decode(v); errors.Is(err, io.EOF) {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return fmt.Errorf("cannot read the engine's answer: %w", err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
}

// VolumeCreate makes a volume.
func (c *Client) VolumeCreate(ctx context.Context, r volume.CreateRequest) (out volume.Volume, err error) {
	return out, c.call(ctx, http.MethodPost, "/volumes/create", nil, r, &out)
}

// VolumeList returns volumes.
func (c *Client) VolumeList(ctx context.Context, f Filters) (out volume.ListResponse, err error) {
	q := url.Values{}
	f.encode(q)
	return out, c.call(ctx, http.MethodGet, "/volumes", q, nil, &out)
}

// VolumeInspect returns a volume.
func (c *Client) VolumeInspect(ctx context.Context, name string) (out volume.Volume, raw json.RawMessage, err error) {
	err = c.inspect(ctx, "/volumes/"+escape(name), nil, &out, &raw)
	return out, raw, err
}

// VolumeRemove removes a volume that no container uses.
func (c *Client) VolumeRemove(ctx context.Context, name string, force bool) error {
	q := url.Values{}
	flag(q, "force", force)
	return c.call(ctx, http.MethodDelete, "/volumes/"+escape(name), q, nil, nil)
}

// NetworkList returns networks.
func (c *Client) NetworkList(ctx context.Context, f Filters) (out []network.Summary, err error) {
	q := url.Values{}
	f.encode(q)
	return out, c.call(ctx, http.MethodGet, "/networks", q, nil, &out)
}

// NetworkInspect returns a network.
func (c *Client) NetworkInspect(ctx context.Context, ref string, verbose bool) (out network.Inspect, raw json.RawMessage, err error) {
	q := url.Values{}
	flag(q, "verbose", verbose)
	err = c.inspect(ctx, "/networks/"+escape(ref), q, &out, &raw)
	return out, raw, err
}

// NetworkCreate makes a network.
func (c *Client) NetworkCreate(ctx context.Context, r network.CreateRequest) (out network.CreateResponse, err error) {
	return out, c.call(ctx, http.MethodPost, "/networks/create", nil, r, &out)
}

// NetworkRemove removes a network that no container is on.
func (c *Client) NetworkRemove(ctx context.Context, ref string) error {
	return c.call(ctx, http.MethodDelete, "/networks/"+escape(ref), nil, nil, nil)
}

// NetworkPrune removes the networks that no container is on.
func (c *Client) NetworkPrune(ctx context.Context, f Filters) (out network.PruneReport, err error) {
	q := url.Values{}
	f.encode(q)
	return out, c.call(ctx, http.MethodPost, "/networks/prune", q, nil, &out)
}

// NetworkConnect puts a container on a network.
func (c *Client) NetworkConnect(ctx context.Context, ref string, r network.ConnectRequest) error {
	return c.call(ctx, http.MethodPost, "/networks/"+escape(ref)+"/connect", nil, r, nil)
}

// NetworkDisconnect takes a container off a network.
func (c *Client) NetworkDisconnect(ctx context.Context, ref string, r network.DisconnectRequest) error {
	return c.call(ctx, http.MethodPost, "/networks/"+escape(ref)+"/disconnect", nil, r, nil)
}

// Reach says of a container's published ports who can reach them. Only hoy's engine can:
// the error of others is an *Error of status 404.
func (c *Client) Reach(ctx context.Context, ref string) (out []reach.Port, err error) {
	return out, c.call(ctx, http.MethodGet, "/hoy/containers/"+escape(ref)+"/ports", nil, nil, &out)
}

// Ping asks whether the engine answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/_ping", nil, nil, nil)
}

// Info describes the engine and its machine.
func (c *Client) Info(ctx context.Context) (out system.Info, err error) {
	return out, c.call(ctx, http.MethodGet, "/info", nil, nil, &out)
}

// Version returns the engine's versions.
func (c *Client) Version(ctx context.Context) (out system.VersionResponse, err error) {
	return out, c.call(ctx, http.MethodGet, "/version", nil, nil, &out)
}

// Events is the stream of what happens in the engine.
type Events struct {
	resp *http.Response
	dec  *json.Decoder
}

// Events starts listening. Since and until are seconds with an optional fraction.
func (c *Client) Events(ctx context.Context, since, until string, f Filters) (*Events, error) {
	q := url.Values{}
	if since != "" {
		q.Set("since", since)
	}
	if until != "" {
		q.Set("until", until)
	}
	f.encode(q)
	resp, err := c.do(ctx, request{method: http.MethodGet, path: "/events", query: q})
	if err != nil {
		return nil, err
	}
	return &Events{resp, json.NewDecoder(resp.Body)}, nil
}

// Next returns the next event, and io.EOF after the last.
func (e *Events) Next() (m events.Message, err error) {
	err = e.dec.Decode(&m)
	return m, err
}

// Close stops listening.
func (e *Events) Close() error { return e.resp.Body.Close() }
