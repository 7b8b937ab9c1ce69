package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Stream is a connection taken over after the answer: what follows is the
// container's. Reading gives its output, writing feeds its input.
type Stream struct {
	cn *conn
	// Mux says that the output comes in frames (stdout and stderr apart); false
	// for a terminal. It is what the engine said, see Known.
	Mux bool
	// Known is false for an engine too old to say whether it sends frames.
	Known bool
}

func (s *Stream) Read(p []byte) (int, error)  { return s.cn.r.Read(p) }
func (s *Stream) Write(p []byte) (int, error) { return s.cn.Write(p) }

// Close ends both directions.
func (s *Stream) Close() error { return s.cn.Close() }

// CloseWrite says that no more input comes; output goes on.
func (s *Stream) CloseWrite() error {
	if w, ok := s.cn.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Media types by which an engine says how it sends output (API 1.42 and later).
const (
	muxStream = "application/vnd.docker.multiplexed-stream"
	rawStream = "application/vnd.docker.raw-stream"
)

// hijack sends a request and takes its connection over.
func (c *Client) hijack(ctx context.Context, path string, q url.Values, in any) (*Stream, error) {
	r := request{method: http.MethodPost, path: path, query: q, hijack: true}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the request POST %s: %w", path, err)
		}
		r.body = b
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &Stream{cn: resp.Body.(*body).cn}
	s.Mux, s.Known = c.framed(resp)
	return s, nil
}

// framed tells whether output comes in frames, and whether the engine has said so: before
// API 1.42 all output is raw by its name.
func (c *Client) framed(resp *http.Response) (mux, known bool) {
	t := resp.Header.Get("Content-Type")
	_, minor, _ := strings.Cut(c.APIVersion(), ".")
	n, _ := strconv.Atoi(minor)
	return t == muxStream, t == muxStream || t == rawStream && n >= 42
}

// DialStdio copies between an engine and two streams until the engine closes; it is
// the far end of an ssh:// host.
func (c *Client) DialStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	cn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	go func() {
		io.Copy(cn.Conn, in)
		if w, ok := cn.Conn.(*net.UnixConn); ok {
			w.CloseWrite()
		}
	}()
	_, err = io.Copy(out, cn.Conn)
	return err
}
