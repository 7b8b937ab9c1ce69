package registry

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/containerd/containerd/v2/core/remotes/docker"

	"hoy/lib/fault"
)

// host is what files say about one host of a domain.
type host struct {
	base        *url.URL // nil: the registry's own
	can         docker.HostCapabilities
	ca          []string    // files with certificates
	client      [][2]string // files with certificate and key
	skipVerify  bool
	insecure    bool // by the engine's configuration
	header      http.Header
	dialTimeout time.Duration
}

// hostsOf reads a domain's folder below those of the configuration: hosts.toml as
// containerd defines it (docs/hosts.md there), or else certificates as docker names them.
// The last host is the registry itself, or what hosts.toml says is.
func (c *Client) hostsOf(domain string) ([]host, error) {
	dir, err := c.certsDir(domain)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return []host{{can: allCapabilities}}, nil
	}
	file := filepath.Join(dir, "hosts.toml")
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		h, err := certificates(dir)
		return []host{h}, err
	case err != nil:
		return nil, err
	}
	hosts, err := parseHosts(string(text), dir)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", file, err)
	}
	return hosts, nil
}

// certsDir is the folder of a domain; "": there is none. containerd writes the colon
// before a port as an underscore, with another at the end; docker as it is.
func (c *Client) certsDir(domain string) (string, error) {
	names := []string{domain, "_default"}
	if n := strings.LastIndexByte(domain, ':'); n > 0 {
		names = append([]string{domain[:n] + "_" + domain[n+1:] + "_"}, names...)
	}
	for _, name := range names {
		for _, root := range c.c.CertsDirs {
			dir := filepath.Join(root, name)
			if _, err := os.Stat(dir); err == nil {
				return dir, nil
			} else if !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
		}
	}
	return "", nil
}

// certificates finds *.crt, which are authorities, and *.cert with *.key, which are ours.
func certificates(dir string) (h host, err error) {
	h.can = allCapabilities
	if h.ca, err = filepath.Glob(filepath.Join(dir, "*.crt")); err != nil {
		return h, err
	}
	certs, err := filepath.Glob(filepath.Join(dir, "*.cert"))
	for _, cert := range certs {
		key := strings.TrimSuffix(cert, ".cert") + ".key"
		if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
			return h, fault.New(fault.Invalid, "client certificate %s has no key: want %s", cert, key)
		}
		h.client = append(h.client, [2]string{cert, key})
	}
	return h, err
}

// hostTable is a host in hosts.toml.
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`     // file, or files
	Client       any            `toml:"client"` // file; files; or pairs of files
	SkipVerify   bool           `toml:"skip_verify"`
	Header       map[string]any `toml:"header"` // text, or texts
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

// parseHosts reads a hosts.toml of a folder.
func parseHosts(text, dir string) (hosts []host, err error) {
	var f struct {
		Server string               `toml:"server"`
		Hosts  map[string]hostTable `toml:"host"`
		hostTable
	}
	meta, err := toml.Decode(text, &f)
	if err != nil {
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fault.New(fault.Invalid, "unknown key %s", unknown[0])
	}
	for _, k := range meta.Keys() { // in the file's order, which is the one to ask in
		if len(k) != 2 || k[0] != "host" {
			continue
		}
		h, err := f.Hosts[k[1]].host(k[1], dir)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	h, err := f.host(f.Server, dir)
	return append(hosts, h), err
}

// host gives a table's values, with its files' names made absolute.
func (t hostTable) host(server, dir string) (h host, err error) {
	h = host{skipVerify: t.SkipVerify, can: allCapabilities}
	if server != "" {
		if h.base, err = t.url(server); err != nil {
			return h, err
		}
	}
	if len(t.Capabilities) > 0 {
		h.can = 0
	}
	for _, c := range t.Capabilities {
		switch strings.ToLower(c) {
		case "pull":
			h.can |= docker.HostCapabilityPull
		case "resolve":
			h.can |= docker.HostCapabilityResolve
		case "push":
			h.can |= docker.HostCapabilityPush
		case "referrers":
			h.can |= docker.HostCapabilityReferrers
		default:
			return h, fault.New(fault.Invalid, "unknown capability %q: want pull, resolve, push or referrers", c)
		}
	}
	var ok bool
	if h.ca, ok = texts(t.CA); !ok {
		return h, fault.New(fault.Invalid, "ca: want a file or a list of files")
	}
	for n := range h.ca {
		h.ca[n] = below(dir, h.ca[n])
	}
	if h.client, ok = pairs(t.Client, dir); !ok {
		return h, fault.New(fault.Invalid, "client: want a file, a list of files, or a list of pairs of certificate and key")
	}
	for k, v := range t.Header {
		if h.header == nil {
			h.header = http.Header{}
		}
		if h.header[http.CanonicalHeaderKey(k)], ok = texts(v); !ok {
			return h, fault.New(fault.Invalid, "header %s: want a text or a list of texts", k)
		}
	}
	if t.DialTimeout != "" {
		if h.dialTimeout, err = time.ParseDuration(t.DialTimeout); err != nil || h.dialTimeout <= 0 {
			return h, fault.New(fault.Invalid, "dial_timeout %q: want a time as 10s", t.DialTimeout)
		}
	}
	return h, nil
}

// url is a server's address, with the API's root below it.
func (t hostTable) url(server string) (*url.URL, error) {
	if !strings.HasPrefix(server, "http://") && !strings.HasPrefix(server, "https://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, fault.New(fault.Invalid, "server %q: want HOST[:PORT] or a URL without credentials", server)
	}
	u.Path = path.Clean("/" + u.Path)
	if !t.OverridePath && !strings.HasSuffix(u.Path, "/v2") {
		u.Path = path.Join(u.Path, "v2")
	}
	return u, nil
}

// texts takes a value that is a text or a list of them.
func texts(v any) (l []string, ok bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case string:
		return []string{v}, true
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			l = append(l, s)
		}
		return l, true
	}
	return nil, false
}

// pairs takes files that hold certificate and key, or both files.
func pairs(v any, dir string) (l [][2]string, ok bool) {
	if files, ok := texts(v); ok {
		for _, f := range files {
			l = append(l, [2]string{below(dir, f), below(dir, f)})
		}
		return l, true
	}
	list, _ := v.([]any)
	for _, e := range list {
		p, ok := texts(e)
		if !ok || len(p) == 1 && e != p[0] || len(p) < 1 || len(p) > 2 {
			return nil, false
		}
		l = append(l, [2]string{below(dir, p[0]), below(dir, p[len(p)-1])})
	}
	return l, len(list) > 0
}

func below(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
