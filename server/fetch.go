package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"hoy/lib/fault"
)

// fetch opens what an address names; one without a scheme is http's. A refusal by the
// other side keeps its kind.
func fetch(ctx context.Context, address string) (io.ReadCloser, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "%q is no address of an archive: want http://… or https://…", address)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.As(fault.Invalid, err)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	return nil, fault.New(fault.OfPeer(resp.StatusCode, fault.Unavailable), "failed to GET %s with status %s: %s", address, resp.Status, bytes.TrimSpace(said))
}
