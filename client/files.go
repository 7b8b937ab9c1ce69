package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/moby/moby/api/types/container"
)

// ContainerChanges lists what a container's files have become other than its image's.
func (c *Client) ContainerChanges(ctx context.Context, ref string) (out []container.FilesystemChange, err error) {
	return out, c.call(ctx, http.MethodGet, "/containers/"+escape(ref)+"/changes", nil, nil, &out)
}

// ContainerExport gives a container's root file system as a tar archive.
func (c *Client) ContainerExport(ctx context.Context, ref string) (io.ReadCloser, error) {
	return c.download(ctx, "/containers/"+escape(ref)+"/export", nil)
}

// download gives the body of an answer, to be closed.
func (c *Client) download(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	resp, err := c.do(ctx, request{method: http.MethodGet, path: path, query: q})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// StatPath describes a file of a container as lstat(2) does.
func (c *Client) StatPath(ctx context.Context, ref, path string) (s container.PathStat, err error) {
	resp, err := c.do(ctx, request{method: http.MethodHead, path: "/containers/" + escape(ref) + "/archive", query: url.Values{"path": {path}}})
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return pathStat(resp)
}

func pathStat(resp *http.Response) (s container.PathStat, err error) {
	b, err := base64.StdEncoding.DecodeString(resp.Header.Get("X-Docker-Container-Path-Stat"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("cannot read the engine's description of the file: %w", err)
	}
	return s, nil
}

// CopyFrom gives a file or directory of a container as a tar archive, to be closed.
func (c *Client) CopyFrom(ctx context.Context, ref, path string) (io.ReadCloser, container.PathStat, error) {
	resp, err := c.do(ctx, request{method: http.MethodGet, path: "/containers/" + escape(ref) + "/archive", query: url.Values{"path": {path}}})
	if err != nil {
		return nil, container.PathStat{}, err
	}
	s, err := pathStat(resp)
	if err != nil {
		resp.Body.Close()
		return nil, s, err
	}
	return resp.Body, s, nil
}

// CopyTo unpacks a tar archive into a directory of a container. What is a directory
// stays one. owned: it belongs to the container's user.
func (c *Client) CopyTo(ctx context.Context, ref, dir string, archive io.Reader, owned bool) error {
	q := url.Values{"path": {dir}, "noOverwriteDirNonDir": {"true"}}
	flag(q, "copyUIDGID", owned)
	resp, err := c.do(ctx, request{method: http.MethodPut, path: "/containers/" + escape(ref) + "/archive", query: q, stream: archive})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// CommitOptions say what ContainerCommit makes.
type CommitOptions struct {
	Repo, Tag       string
	Author, Message string
	Changes         []string // Dockerfile instructions
	NoPause         bool
}

// ContainerCommit makes an image of a container's files and returns its id.
func (c *Client) ContainerCommit(ctx context.Context, ref string, o CommitOptions) (string, error) {
	q := url.Values{"container": {ref}}
	for k, v := range map[string]string{"repo": o.Repo, "tag": o.Tag, "author": o.Author, "comment": o.Message} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if o.NoPause {
		q.Set("pause", "0")
	}
	for _, ch := range o.Changes {
		q.Add("changes", ch)
	}
	var out container.CommitResponse
	err := c.call(ctx, http.MethodPost, "/commit", q, nil, &out)
	return out.ID, err
}
