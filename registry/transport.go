package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"golang.org/x/net/http/httpproxy"

	"hoy/lib/fault"
)

// environmentProxy is the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name now.
func environmentProxy() func(*url.URL) (*url.URL, error) {
	return httpproxy.FromEnvironment().ProxyFunc()
}

// httpClient makes the client for a host: with its certificates, by the proxy, trying
// again what may do better, following redirects as far as they can be trusted.
func (c *Client) httpClient(h host, attempts int) (*http.Client, error) {
	config, err := h.tls()
	if err != nil {
		return nil, err
	}
	dial := 30 * time.Second
	if h.dialTimeout > 0 {
		dial = h.dialTimeout
	}
	var t http.RoundTripper = &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return c.c.Proxy(r.URL) },
		DialContext:           (&net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConns:          16,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		ExpectContinueTimeout: 5 * time.Second,
		DisableCompression:    true, // digests and ranges are of the bytes as they are
		// HTTP/2, which these fields switch off, has one connection for all: by TLS on
		// loopback it brings a third of what four connections bring, and when that one
		// falls silent every further attempt does.
	}
	if h.insecure {
		t = docker.NewHTTPFallback(t)
	}
	plain := h.insecure || h.skipVerify || h.base.Scheme == "http"
	return &http.Client{
		Transport:     &persistent{next: t, attempts: attempts, delay: c.c.Delay, silence: c.silence},
		CheckRedirect: func(r *http.Request, via []*http.Request) error { return redirect(r, via, plain) },
	}, nil
}

// errRedirect is the kind of failure that no further attempt heals.
var errRedirect = errors.New("redirect refused")

// redirect says whether to follow. Credentials stay with the host they are for: net/http
// alone would take them along to its subdomains and other ports. From TLS nothing leads
// to where there is none.
func redirect(r *http.Request, via []*http.Request, plain bool) error {
	first := via[0]
	switch {
	case len(via) >= 10:
		return fmt.Errorf("%w: %s leads on and on, 10 times", errRedirect, first.URL.Host)
	case r.URL.Scheme != "https" && r.URL.Scheme != "http":
		return fmt.Errorf("%w: to something of the scheme %s", errRedirect, r.URL.Scheme)
	case r.URL.Scheme == "http" && first.URL.Scheme == "https" && !plain:
		return fmt.Errorf("%w: from https://%s to http://%s, which anybody on the way could forge", errRedirect, first.URL.Host, r.URL.Host)
	}
	if r.URL.Host != first.URL.Host || r.URL.Scheme == "http" && first.URL.Scheme == "https" {
		maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return !slices.Contains(harmless, name) })
	}
	r.Header.Del("Referer") // its query may hold what the next host must not know
	return nil
}

// harmless are the headers that go along to another host. Any other may be a password, as
// those of hosts.toml are.
var harmless = []string{"Accept", "Accept-Encoding", "Content-Range", "Content-Type", "Range", "User-Agent"}

// tls reads the host's certificates.
func (h *host) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: h.insecure || h.skipVerify}
	for _, f := range h.ca {
		pem, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("cannot read registry's certificate authority: %w", err)
		}
		if c.RootCAs == nil {
			if c.RootCAs, err = x509.SystemCertPool(); err != nil {
				return nil, fmt.Errorf("cannot read this machine's certificate authorities: %w", err)
			}
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "%s holds no certificate (PEM)", f)
		}
	}
	for _, p := range h.client {
		cert, err := tls.LoadX509KeyPair(p[0], p[1])
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot load client certificate %s with key %s: %w", p[0], p[1], err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	return c, nil
}
