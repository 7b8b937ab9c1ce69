// Package registry speaks to registries: the client side of the OCI distribution
// specification v1.1 and of Docker's token specification. It knows no image store.
package registry

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
)

// Config says how registries are reached. The zero value reaches every registry as
// Docker does that is told nothing.
type Config struct {
	Mirrors   []string      // URLs that are asked first for what the default registry has
	Insecure  []string      // host[:port] or CIDR of registries without TLS, or without a certificate to be checked; loopback always is
	CertsDirs []string      // with HOST[:PORT]/{hosts.toml,*.crt,*.cert,*.key}; the first that has the host counts
	Attempts  int           // how often a request is sent that may do better the next time; 0: 5
	Delay     time.Duration // before the second attempt, twice that before the third, …; 0: 250 ms
	UserAgent string
	Proxy     func(*url.URL) (*url.URL, error) // nil: by the environment
	Warn      func(text string, about ...any)  // told what does not fail an operation, in slog's manner; nil: nobody
}

// Auth is what a registry may ask for. Its fields are those of X-Registry-Auth.
type Auth struct {
	Username, Password string
	IdentityToken      string // a refresh token, which the token server gave at login
	RegistryToken      string // a bearer token, sent as it is
	ServerAddress      string // host, or URL, that the rest is for; "": the registry that is spoken to
	// Meta are headers that a caller has for the registry: they go with every request to
	// it and its mirrors.
	Meta http.Header
}

// Client reaches registries. It has no state but its configuration and may be used by
// several goroutines.
//
//	c, err := registry.New(registry.Config{})
//	repo, err := c.Repository(ctx, name, registry.Auth{})
//	d, err := repo.Resolve(ctx, "latest")
//	body, err := repo.Fetch(ctx, d, 0, -1)
type Client struct {
	c        Config
	mirrors  []*url.URL
	insecure insecure

	small   int64         // a blob up to this size is sent by one request: to be able to go on takes more of them
	silence time.Duration // an answer from which nothing comes for so long has broken off
}

// New checks a configuration. What certificates' folders hold is read when a registry is
// spoken to: it may change meanwhile.
func New(c Config) (*Client, error) {
	if c.Attempts <= 0 {
		c.Attempts = 5
	}
	if c.Delay <= 0 {
		c.Delay = 250 * time.Millisecond
	}
	if c.Proxy == nil {
		c.Proxy = environmentProxy()
	}
	if c.Warn == nil {
		c.Warn = func(string, ...any) {}
	}
	cl := &Client{c: c, small: 1 << 20, silence: time.Minute}
	for _, m := range c.Mirrors {
		u, err := parseMirror(m)
		if err != nil {
			return nil, err
		}
		cl.mirrors = append(cl.mirrors, u)
	}
	var err error
	cl.insecure, err = parseInsecure(c.Insecure)
	return cl, err
}

// Repository is one repository of a registry, by all ways that lead there: its mirrors
// first, where there are, the registry itself last. It satisfies image.Source and
// image.Target. Tokens are kept as long as it is.
type Repository struct {
	c         *Client
	name      reference.Named // without tag and digest
	endpoints []*endpoint     // of which the last one is the registry itself, or what stands for it
	uploads   uploads
}

// Repository gives access to a repository with credentials, which only the registry
// itself gets, no mirror.
func (c *Client) Repository(ctx context.Context, name reference.Named, a Auth) (*Repository, error) {
	endpoints, err := c.endpoints(ctx, reference.Domain(name), a)
	if err != nil {
		return nil, err
	}
	return &Repository{c: c, name: reference.TrimNamed(name), endpoints: endpoints}, nil
}

// able are the endpoints that do what is asked for, in the order in which they are asked.
// Those that could not be reached a moment ago are left out while there are others.
func (r *Repository) able(what docker.HostCapabilities) (able []*endpoint) {
	for n, e := range r.endpoints {
		if e.can.Has(what) && (n == len(r.endpoints)-1 || !e.down.Load()) {
			able = append(able, e)
		}
	}
	return able
}

// defaultDomain is the domain of names that say none.
var defaultDomain = func() string {
	n, _ := reference.ParseNormalizedNamed("x") // a name
	return reference.Domain(n)
}()

// IndexAddress is where the default registry's index is. Clients keep the credentials for
// the registry under it.
var IndexAddress = "https://index." + defaultDomain + "/v1/"
