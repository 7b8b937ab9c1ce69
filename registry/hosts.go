package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"

	"hoy/lib/fault"
)

// endpoint is one way to what a domain has: the registry itself, or a mirror of it.
type endpoint struct {
	base   *url.URL // to which NAME/manifests/… is appended
	plain  bool     // it may be spoken to without TLS, or without knowing who answers
	can    docker.HostCapabilities
	domain string // of the names, when they are another host's than base says; ""
	header http.Header
	http   *http.Client
	auth   *authorizer // nil: it is a stranger, who gets no credentials
	misfit string      // whose credentials were given instead of this registry's; ""
	down   atomic.Bool // it could not be reached
	told   atomic.Bool // that it, a mirror, does not have everything
}

const allCapabilities = docker.HostCapabilityPull | docker.HostCapabilityResolve | docker.HostCapabilityPush | docker.HostCapabilityReferrers

// endpoints are the ways to a domain: the mirrors of the configuration, those of
// hosts.toml, the registry itself.
func (c *Client) endpoints(ctx context.Context, domain string, a Auth) ([]*endpoint, error) {
	var hosts []host
	if domain == defaultDomain {
		for _, m := range c.mirrors {
			h, err := c.mirror(m)
			if err != nil {
				return nil, err
			}
			hosts = append(hosts, h)
		}
	}
	own, err := c.hostsOf(domain)
	if err != nil {
		return nil, err
	}
	var endpoints []*endpoint
	hosts = append(hosts, own...)
	for n, h := range hosts {
		e, err := c.endpoint(ctx, h, domain, n == len(hosts)-1, a)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// mirror is a mirror of the configuration, with its certificates.
func (c *Client) mirror(u *url.URL) (host, error) {
	hosts, err := c.hostsOf(u.Host)
	if err != nil {
		return host{}, err
	}
	h := hosts[len(hosts)-1]
	base := *u
	if base.Path = path.Clean("/" + u.Path); !strings.HasSuffix(base.Path, "/v2") {
		base.Path = path.Join(base.Path, "v2")
	}
	h.base, h.can = &base, allCapabilities&^docker.HostCapabilityPush
	return h, nil
}

// registryHost is where a domain's registry answers: the default domain has a host of
// another name.
func registryHost(domain string) string {
	h, err := docker.DefaultHost(domain)
	if err != nil {
		return domain
	}
	return h
}

// endpoint makes the client for a host. The last one may be tried as long as the
// configuration says; one after which there are others only once.
func (c *Client) endpoint(ctx context.Context, h host, domain string, last bool, a Auth) (*endpoint, error) {
	if h.base == nil {
		h.base = &url.URL{Scheme: "https", Host: registryHost(domain), Path: "/v2"}
		if c.insecure.has(ctx, domain) {
			h.insecure = true
		}
	} else if h.base.Scheme == "https" && c.insecure.has(ctx, h.base.Host) {
		h.insecure = true
	}
	attempts := c.c.Attempts
	if !last {
		attempts = 1
	}
	client, err := c.httpClient(h, attempts)
	if err != nil {
		return nil, err
	}
	e := &endpoint{
		base: h.base, plain: h.insecure || h.skipVerify || h.base.Scheme == "http", can: h.can,
		header: c.requestHeader(h.header, a.Meta), http: client,
	}
	if h.base.Host != registryHost(domain) {
		e.domain = domain
	}
	e.auth = newAuthorizer(client, h.base.Host, e.header, e.plain)
	if last && a.isFor(domain) {
		e.auth.secret = a
	} else if last {
		e.misfit = a.ServerAddress
	}
	return e, nil
}

// requestHeader is what every request to a host has.
func (c *Client) requestHeader(more ...http.Header) http.Header {
	h := http.Header{}
	for _, m := range more {
		for k, v := range m {
			h[http.CanonicalHeaderKey(k)] = v
		}
	}
	if c.c.UserAgent != "" {
		h.Set("User-Agent", c.c.UserAgent)
	}
	return h
}

// isFor tells whether credentials are a domain's. Clients name the default registry by
// the address of its index.
func (a Auth) isFor(domain string) bool {
	h := hostOf(a.ServerAddress)
	return h == "" || h == domain || h == registryHost(domain) || domain == defaultDomain && h == "index."+defaultDomain
}

// hostOf takes the host out of an address, which may be a URL.
func hostOf(address string) string {
	if scheme, rest, ok := strings.Cut(address, "://"); ok && (scheme == "http" || scheme == "https") {
		address = rest
	}
	h, _, _ := strings.Cut(address, "/")
	return h
}

// parseMirror checks the URL of a mirror.
func parseMirror(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fault.New(fault.Invalid, "invalid mirror %q: want https://HOST", s)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fault.New(fault.Invalid, "invalid mirror %q: want https://HOST or http://HOST", s)
	case u.User != nil:
		return nil, fault.New(fault.Invalid, "invalid mirror %s: credentials in its URL would be seen by everybody who may ask for the configuration; use a header in hosts.toml", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fault.New(fault.Invalid, "invalid mirror %q: a query or fragment has no meaning here", s)
	}
	return u, nil
}

// insecure are the registries that need no TLS, nor a certificate to be checked.
type insecure struct {
	hosts []string
	nets  []netip.Prefix
}

// parseInsecure reads hosts and networks; those of loopback always belong to them, as
// with docker.
func parseInsecure(list []string) (i insecure, err error) {
	i.nets = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	domain := regexp.MustCompile("^" + reference.DomainRegexp.String() + "$")
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			i.nets = append(i.nets, p.Masked())
			continue
		}
		h := s
		if scheme, rest, ok := strings.Cut(s, "://"); ok && (scheme == "http" || scheme == "https") {
			h = strings.TrimSuffix(rest, "/")
		}
		name, _, err := net.SplitHostPort(h)
		if err != nil {
			name = h
		}
		if !domain.MatchString(h) && net.ParseIP(name) == nil || h == "" {
			return i, fault.New(fault.Invalid, "invalid insecure registry %q: want HOST[:PORT] or a network as 192.0.2.0/24", s)
		}
		i.hosts = append(i.hosts, h)
	}
	return i, nil
}

// has tells whether a host is one of them. A name is resolved: it is where its address
// is. The default registry never is one.
func (i insecure) has(ctx context.Context, hostport string) bool {
	if slices.Contains(i.hosts, hostport) {
		return hostport != defaultDomain
	}
	if hostport == defaultDomain || hostport == registryHost(defaultDomain) {
		return false
	}
	name, _, err := net.SplitHostPort(hostport)
	if err != nil {
		name = hostport
	}
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		addrs = []netip.Addr{a}
	} else {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		addrs, _ = net.DefaultResolver.LookupNetIP(ctx, "ip", name) // one without address is secure
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return slices.ContainsFunc(i.nets, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	})
}

func (e *endpoint) String() string { return e.base.Host }

// url is that of something below a repository's name.
func (e *endpoint) url(name, format string, args ...any) *url.URL {
	u := *e.base
	u.Path = path.Join(u.Path, name) + "/" + fmt.Sprintf(format, args...)
	if e.domain != "" {
		u.RawQuery = url.Values{"ns": {e.domain}}.Encode()
	}
	return &u
}
