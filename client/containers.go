package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// Filters are docker's filters: values by key.
type Filters map[string][]string

func (f Filters) encode(q url.Values) {
	if len(f) == 0 {
		return
	}
	m := map[string]map[string]bool{}
	for k, vs := range f {
		m[k] = map[string]bool{}
		for _, v := range vs {
			m[k][v] = true
		}
	}
	b, _ := json.Marshal(m) // maps of strings and bools always encode
	q.Set("filters", string(b))
}

// escape makes a name fit for a path; slashes stay, as in docker's requests.
func escape(s string) string { return (&url.URL{Path: s}).EscapedPath() }

func flag(q url.Values, name string, on bool) {
	if on {
		q.Set(name, "1")
	}
}

// ContainerCreate makes a container; platform may be empty.
func (c *Client) ContainerCreate(ctx context.Context, r container.CreateRequest, name, platform string) (out container.CreateResponse, err error) {
	q := url.Values{}
	if name != "" {
		q.Set("name", name)
	}
	if platform != "" {
		q.Set("platform", platform)
	}
	body, err := sparse(r)
	if err != nil {
		return out, fmt.Errorf("cannot encode the container: %w", err)
	}
	return out, c.ask(ctx, request{method: http.MethodPost, path: "/containers/create", query: q, body: body}, &out)
}

// ContainerStart starts a container that is not running.
func (c *Client) ContainerStart(ctx context.Context, ref, detachKeys string) error {
	q := url.Values{}
	if detachKeys != "" {
		q.Set("detachKeys", detachKeys)
	}
	return c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/start", q, nil, nil)
}

// ContainerStop stops a container: signal "" and timeout nil are the container's own.
func (c *Client) ContainerStop(ctx context.Context, ref, signal string, timeout *int) error {
	return c.stop(ctx, ref, "stop", signal, timeout)
}

// ContainerRestart stops a container and starts it; signal and timeout are as in ContainerStop.
func (c *Client) ContainerRestart(ctx context.Context, ref, signal string, timeout *int) error {
	return c.stop(ctx, ref, "restart", signal, timeout)
}

func (c *Client) stop(ctx context.Context, ref, verb, signal string, timeout *int) error {
	q := url.Values{}
	if signal != "" {
		q.Set("signal", signal)
	}
	if timeout != nil {
		q.Set("t", strconv.Itoa(*timeout))
	}
	return c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/"+verb, q, nil, nil)
}

// ContainerKill sends a signal, SIGKILL if "".
func (c *Client) ContainerKill(ctx context.Context, ref, signal string) error {
	q := url.Values{}
	if signal != "" {
		q.Set("signal", signal)
	}
	return c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/kill", q, nil, nil)
}

// ContainerRemove removes a container.
func (c *Client) ContainerRemove(ctx context.Context, ref string, force, volumes, link bool) error {
	q := url.Values{}
	flag(q, "force", force)
	flag(q, "v", volumes)
	flag(q, "link", link)
	return c.call(ctx, http.MethodDelete, "/containers/"+escape(ref), q, nil, nil)
}

// ListOptions says which containers ContainerList returns.
type ListOptions struct {
	All, Size bool
	Limit     int // newest so many, 0: no limit
	Filters   Filters
	// Fields are the names in JSON of what the caller will look at, nil: everything.
	// An engine of ours leaves the others empty, which is quicker; docker's ignores it.
	Fields []string
}

// ContainerList returns containers, newest first.
func (c *Client) ContainerList(ctx context.Context, o ListOptions) (out []container.Summary, err error) {
	q := url.Values{}
	flag(q, "all", o.All)
	flag(q, "size", o.Size)
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if len(o.Fields) > 0 {
		q.Set("fields", strings.Join(o.Fields, ","))
	}
	o.Filters.encode(q)
	return out, c.call(ctx, http.MethodGet, "/containers/json", q, nil, &out)
}

// ContainerInspect returns all there is to say about a container, and the engine's
// own words, which may hold fields that this client does not know.
func (c *Client) ContainerInspect(ctx context.Context, ref string, size bool) (out container.InspectResponse, raw json.RawMessage, err error) {
	q := url.Values{}
	flag(q, "size", size)
	err = c.inspect(ctx, "/containers/"+escape(ref)+"/json", q, &out, &raw)
	return out, raw, err
}

func (c *Client) inspect(ctx context.Context, path string, q url.Values, out any, raw *json.RawMessage) error {
	if err := c.call(ctx, http.MethodGet, path, q, nil, raw); err != nil {
		return err
	}
	if err := json.Unmarshal(*raw, out); err != nil {
		return fmt.Errorf("cannot read the engine's answer to GET %s: %w", path, err)
	}
	return nil
}

// ContainerResize sets the size of a container's terminal.
func (c *Client) ContainerResize(ctx context.Context, ref string, rows, cols uint16) error {
	return c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/resize", size(rows, cols), nil, nil)
}

func size(rows, cols uint16) url.Values {
	return url.Values{"h": {strconv.Itoa(int(rows))}, "w": {strconv.Itoa(int(cols))}}
}

// AttachOptions says which streams ContainerAttach connects.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	Logs                  bool // what was output before, too
	DetachKeys            string
}

// ContainerAttach connects to a container's streams.
func (c *Client) ContainerAttach(ctx context.Context, ref string, o AttachOptions) (*Stream, error) {
	q := url.Values{"stream": {"1"}}
	flag(q, "stdin", o.Stdin)
	flag(q, "stdout", o.Stdout)
	flag(q, "stderr", o.Stderr)
	flag(q, "logs", o.Logs)
	if o.DetachKeys != "" {
		q.Set("detachKeys", o.DetachKeys)
	}
	return c.hijack(ctx, "/containers/"+escape(ref)+"/attach", q, nil)
}

// Waiting is a wait that the engine has registered: nothing that happens from now
// on is missed.
type Waiting struct{ resp *http.Response }

// ContainerWait registers a wait for the condition.
func (c *Client) ContainerWait(ctx context.Context, ref string, cond container.WaitCondition) (*Waiting, error) {
	q := url.Values{}
	if cond != "" {
		q.Set("condition", string(cond))
	}
	resp, err := c.do(ctx, request{method: http.MethodPost, path: "/containers/" + escape(ref) + "/wait", query: q})
	if err != nil {
		return nil, err
	}
	return &Waiting{resp}, nil
}

// Result blocks until the condition is met.
func (w *Waiting) Result() (out container.WaitResponse, err error) {
	defer w.resp.Body.Close()
	if err := json.NewDecoder(w.resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("cannot read the engine's answer to a wait: %w", err)
	}
	return out, nil
}

// Close gives the wait up.
func (w *Waiting) Close() error { return w.resp.Body.Close() }

// LogOptions says which part of the logs ContainerLogs returns. Since and Until are
// seconds with an optional fraction, as the API takes them.
type LogOptions struct {
	Stdout, Stderr, Follow, Timestamps, Details bool
	Since, Until                                string
	Tail                                        string // a number or "all"
}

// Logs is the log of a container as it arrives.
type Logs struct {
	io.ReadCloser
	Mux, Known bool // as in Stream
}

// ContainerLogs reads a container's log.
func (c *Client) ContainerLogs(ctx context.Context, ref string, o LogOptions) (*Logs, error) {
	q := url.Values{}
	flag(q, "stdout", o.Stdout)
	flag(q, "stderr", o.Stderr)
	flag(q, "follow", o.Follow)
	flag(q, "timestamps", o.Timestamps)
	flag(q, "details", o.Details)
	for k, v := range map[string]string{"since": o.Since, "until": o.Until, "tail": o.Tail} {
		if v != "" {
			q.Set(k, v)
		}
	}
	resp, err := c.do(ctx, request{method: http.MethodGet, path: "/containers/" + escape(ref) + "/logs", query: q})
	if err != nil {
		return nil, err
	}
	mux, known := c.framed(resp)
	return &Logs{resp.Body, mux, known}, nil
}

// ExecCreate prepares a command in a running container and returns its id.
func (c *Client) ExecCreate(ctx context.Context, ref string, r container.ExecCreateRequest) (string, error) {
	var out container.ExecCreateResponse
	err := c.call(ctx, http.MethodPost, "/containers/"+escape(ref)+"/exec", nil, r, &out)
	return out.ID, err
}

// ExecAttach starts a prepared command and connects to its streams.
func (c *Client) ExecAttach(ctx context.Context, id string, r container.ExecStartRequest) (*Stream, error) {
	return c.hijack(ctx, "/exec/"+escape(id)+"/start", nil, r)
}

// ExecDetached starts a prepared command and leaves it alone.
func (c *Client) ExecDetached(ctx context.Context, id string, r container.ExecStartRequest) error {
	r.Detach = true
	return c.call(ctx, http.MethodPost, "/exec/"+escape(id)+"/start", nil, r, nil)
}

// ExecInspect returns what became of a command.
func (c *Client) ExecInspect(ctx context.Context, id string) (out container.ExecInspectResponse, err error) {
	return out, c.call(ctx, http.MethodGet, "/exec/"+escape(id)+"/json", nil, nil, &out)
}

// ExecResize sets the size of a command's terminal.
func (c *Client) ExecResize(ctx context.Context, id string, rows, cols uint16) error {
	return c.call(ctx, http.MethodPost, "/exec/"+escape(id)+"/resize", size(rows, cols), nil, nil)
}
