// Package client speaks the Docker Engine API to an engine: moby's API types over
// a small HTTP client of its own, which starts in half the time that moby's client
// needs (no telemetry, no transport, no version negotiation).
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"hoy/lib/version"
)

// Options says which engine a Client speaks to.
type Options struct {
	Endpoint Endpoint
	// Launch starts an engine when none listens at the endpoint, and returns when
	// it answers; nil where that is nobody's business.
	Launch func(context.Context) error
	// Header goes with every request; what HTTP itself needs stays ours.
	Header map[string]string
	// APIVersion is the one that requests carry, whatever the engine speaks; "": the newest
	// that both do.
	APIVersion string
	// Trace is told of each answer, in one line; nil: nobody is.
	Trace func(string)
}

// Client sends requests to one engine. It is safe for use by several goroutines:
// each request has a connection of its own while it lasts, and a connection whose
// answer was read to its end serves the next request.
//
//	c, err := client.New(client.Options{Endpoint: e})
//	created, err := c.ContainerCreate(ctx, req, "name", "")
//	err = c.ContainerStart(ctx, created.ID)
//
// Errors of the engine are *Error, failures to reach it are *Unreachable or, once a
// request was sent, whatever the connection gave (see Lost).
type Client struct {
	endpoint Endpoint
	launch   func(context.Context) error
	trace    func(string)
	header   string // lines

	mu       sync.Mutex
	version  string // API version, lowered once if the engine is older
	pinned   bool   // the version is not ours to lower
	idle     []*conn
	launched bool
}

// New returns a client; it does not connect yet.
func New(o Options) (*Client, error) {
	if err := o.Endpoint.check(); err != nil {
		return nil, err
	}
	header, err := headerLines(o.Header)
	if err != nil {
		return nil, err
	}
	c := &Client{endpoint: o.Endpoint, launch: o.Launch, trace: o.Trace, header: header, version: version.API}
	if o.APIVersion == "" {
		return c, nil
	}
	c.version, c.pinned = strings.TrimPrefix(o.APIVersion, "v"), true
	if !regexp.MustCompile(`^[0-9]+\.[0-9]+$`).MatchString(c.version) {
		return nil, fmt.Errorf("invalid API version %q: write one like %s", o.APIVersion, version.API)
	}
	return c, nil
}

// Host returns the address of the engine as the user would write it.
func (c *Client) Host() string { return c.endpoint.Host }

// APIVersion returns the API version that requests carry.
func (c *Client) APIVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// Error is the engine's refusal of a request.
type Error struct {
	Status  int // HTTP status
	Message string
}

func (e *Error) Error() string { return "Error response from daemon: " + e.Message }

// StatusOf returns the HTTP status of the engine's refusal, 0 for other errors.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Unreachable says that no connection to the engine came about.
type Unreachable struct {
	Host string
	Err  error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("Cannot connect to the Docker daemon at %s. Is the hoy engine (hoyd serve) running? (%v)", e.Host, e.Err)
}

func (e *Unreachable) Unwrap() error { return e.Err }

// Lost reports whether err means that the engine went away, as it does while it is
// restarted, rather than that it refused something.
func Lost(err error) bool {
	if err == nil || StatusOf(err) != 0 || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var unreachable *Unreachable
	var network net.Error
	return errors.As(err, &unreachable) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// call sends in as JSON (nil: no body) and decodes the answer into out (nil: none).
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in, out any) error {
	r := request{method: method, path: path, query: q}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("cannot encode the request %s %s: %w", method, path, err)
		}
		r.body = b
	}
	return c.ask(ctx, r, out)
}

// ask sends a request and decodes the answer into out (nil: none).
func (c *Client) ask(ctx context.Context, r request, out any) error {
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("cannot read the engine's answer to %s %s: %w", r.method, r.path, err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// do sends a request and returns the answer, whose body the caller closes. An
// answer of 400 and above becomes an *Error; an engine that finds the API version
// too new is asked again in its own.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	if r.stream != nil {
		// A stream cannot be sent twice: settle the version first.
		if err := c.Ping(ctx); err != nil {
			return nil, err
		}
	}
	for {
		asked := c.APIVersion()
		resp, err := c.send(ctx, r, asked)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 400 {
			return resp, nil
		}
		refusal := readError(resp)
		older := tooNew(refusal)
		if older == "" || older == asked || c.pinned {
			return nil, refusal
		}
		c.mu.Lock()
		c.version = older
		c.mu.Unlock()
	}
}

func readError(resp *http.Response) *Error {
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	e := &Error{Status: resp.StatusCode}
	var body struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(b, &body) == nil && body.Message != "" {
		e.Message = body.Message
	} else if e.Message = string(bytes.TrimSpace(b)); e.Message == "" {
		e.Message = resp.Status
	}
	return e
}

// tooNew returns the newest version that an engine older than us speaks, from its
// refusal, or "".
func tooNew(e *Error) string {
	if e.Status != http.StatusBadRequest || !strings.Contains(e.Message, "too new") {
		return ""
	}
	m := regexp.MustCompile(`[Mm]aximum supported API version is ([0-9]+\.[0-9]+)`).FindStringSubmatch(e.Message)
	if m == nil {
		return ""
	}
	return m[1]
}
