package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hoy/lib/version"
)

// request is one request before it is put on a connection.
type request struct {
	method, path string
	query        url.Values
	body         []byte    // JSON
	stream       io.Reader // or a body of unknown length
	asking       bool      // the stream begins when the engine asks for it: it may not end before the answer does
	hijack       bool      // the connection is taken over after the answer
	kind         string    // media type of the stream; "" for an archive
	auth         string    // X-Registry-Auth, "" for none
	lines        string    // of more headers of this request
	header       string    // lines of those of all
}

// duplex reports whether the answer may end before the body was sent to its end: the rest
// would be taken for the next request.
func (r request) duplex() bool { return r.stream != nil }

// conn is a connection with what was read ahead from it.
type conn struct {
	net.Conn
	r    *bufio.Reader
	used bool
}

// send writes the request and reads the head of the answer. A connection that the
// engine closed while it was idle is replaced once, before anything was answered.
func (c *Client) send(ctx context.Context, r request, api string) (*http.Response, error) {
	r.header = c.header
	for {
		cn, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		stop := context.AfterFunc(ctx, func() { cn.SetDeadline(time.Unix(1, 0)) })
		resp, err := cn.roundTrip(r, api)
		if err == nil && r.hijack {
			stop()
		}
		if err == nil {
			if c.trace != nil {
				c.trace(fmt.Sprintf("%s %s: %s after %s", r.method, r.path, resp.Status, time.Since(began).Round(time.Microsecond)))
			}
			resp.Body = &body{ReadCloser: resp.Body, c: c, cn: cn, stop: stop, ctx: ctx, keep: !resp.Close && !r.hijack && !r.duplex()}
			return resp, nil
		}
		stop()
		cn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !cn.used || r.stream != nil || r.method != http.MethodGet && !errors.Is(err, errUnsent) {
			return nil, fmt.Errorf("cannot ask the engine at %s (%s %s): %w", c.endpoint.Host, r.method, r.path, err)
		}
	}
}

// errUnsent marks a failure before the engine can have seen the request.
var errUnsent = errors.New("request not sent")

func (cn *conn) roundTrip(r request, api string) (*http.Response, error) {
	if _, err := cn.Write(r.head(api)); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnsent, err)
	}
	if r.stream != nil && !r.asking {
		// An engine that refuses answers before it has read the body.
		go sendChunks(cn, r.stream)
	}
	for {
		resp, err := http.ReadResponse(cn.r, &http.Request{Method: r.method})
		if err != nil || resp.StatusCode != http.StatusContinue {
			return resp, err
		}
		if r.asking {
			r.asking = false
			go sendChunks(cn, r.stream)
		}
	}
}

// head is the whole request but a streamed body: one write, one segment.
func (r request) head(api string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s /v%s%s", r.method, api, r.path)
	if len(r.query) > 0 {
		b.WriteString("?" + r.query.Encode())
	}
	b.WriteString(" HTTP/1.1\r\nHost: hoy\r\nUser-Agent: hoy/" + version.Version + "\r\n")
	switch {
	case r.stream != nil:
		kind := r.kind
		if kind == "" {
			kind = "application/x-tar"
		}
		b.WriteString("Content-Type: " + kind + "\r\nTransfer-Encoding: chunked\r\n")
		if r.asking {
			b.WriteString("Expect: 100-continue\r\n")
		}
	case r.body != nil:
		b.WriteString("Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(r.body)) + "\r\n")
	case r.method != http.MethodGet && r.method != http.MethodHead:
		b.WriteString("Content-Length: 0\r\n")
	}
	if r.auth != "" {
		b.WriteString("X-Registry-Auth: " + r.auth + "\r\n")
	}
	if r.hijack {
		b.WriteString("Connection: Upgrade\r\nUpgrade: tcp\r\n")
	}
	b.WriteString(r.lines + r.header + "\r\n")
	b.Write(r.body)
	return b.Bytes()
}

// own are the headers that a request has of its own.
var own = []string{"Host", "User-Agent", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "X-Registry-Auth", "X-Registry-Config"}

// headerLines writes headers as a request has them.
func headerLines(header map[string]string) (string, error) {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(header)) {
		if k == "" || strings.ContainsAny(k, " :\t\r\n") || strings.ContainsAny(header[k], "\r\n\x00") {
			return "", fmt.Errorf("cannot send the header %q: %q: it is none of HTTP", k, header[k])
		}
		if !slices.Contains(own, http.CanonicalHeaderKey(k)) {
			fmt.Fprintf(&b, "%s: %s\r\n", k, header[k])
		}
	}
	return b.String(), nil
}

// sendChunks sends a body in chunks. Its errors show as errors of the answer.
func sendChunks(w io.Writer, body io.Reader) {
	buf := make([]byte, 256<<10)
	const room = 16 // for the length in front
	for {
		n, err := body.Read(buf[room : len(buf)-2]) // no more than is there: somebody may wait for it
		if n > 0 {
			head := append(strconv.AppendInt(nil, int64(n), 16), '\r', '\n')
			start := room - len(head)
			copy(buf[start:], head)
			copy(buf[room+n:], "\r\n")
			if _, err := w.Write(buf[start : room+n+2]); err != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			io.WriteString(w, "0\r\n\r\n")
			return
		}
		if err != nil {
			// The engine must not take half an archive for a whole one.
			if c, ok := w.(io.Closer); ok {
				c.Close()
			}
			return
		}
	}
}

// connect returns an idle connection or a new one, starting an engine if that is
// wanted and none listens.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		cn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		cn.used = true
		return cn, nil
	}
	launch := c.launch
	if c.launched {
		launch = nil
	}
	c.mu.Unlock()
	nc, err := c.endpoint.Dial(ctx)
	if err != nil && launch != nil && absent(err) {
		c.mu.Lock()
		c.launched = true
		c.mu.Unlock()
		if err := launch(ctx); err != nil {
			return nil, err
		}
		nc, err = c.endpoint.Dial(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &Unreachable{c.endpoint.Host, err}
	}
	return &conn{Conn: nc, r: bufio.NewReaderSize(nc, 32<<10)}, nil
}

// body gives its connection back when it was read to its end. Reading it ends with the
// context of the request, as waiting for it does.
type body struct {
	io.ReadCloser
	ctx    context.Context
	stop   func() bool // the context's watch over the connection
	c      *Client
	cn     *conn
	keep   bool
	ended  bool
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended = true
	} else if err != nil && b.ctx.Err() != nil {
		err = b.ctx.Err()
	}
	return n, err
}

func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if !b.ended && b.keep {
		// Nothing left is the rule; more than a little is not worth reading.
		var rest [512]byte
		_, err := io.ReadFull(b.ReadCloser, rest[:])
		b.ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	if !b.stop() || !b.keep || !b.ended {
		return b.cn.Close()
	}
	b.c.mu.Lock()
	b.c.idle = append(b.c.idle, b.cn)
	b.c.mu.Unlock()
	return nil
}
