package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Choice is what the user said about which engine to use; empty fields are unsaid.
type Choice struct {
	Host      string // --host
	Context   string // --context
	ConfigDir string // --config: the folder of config.json and contexts

	TLS, TLSVerify          bool // --tls, --tlsverify
	CACert, Cert, Key       string
	Getenv                  func(string) string
	DefaultHost, DefaultDir string
}

// Resolve finds the engine: --host, --context, HOY_HOST, DOCKER_HOST,
// DOCKER_CONTEXT, the context in use, and then the default socket; implicit is true
// for the last.
func (c Choice) Resolve() (e Endpoint, implicit bool, err error) {
	if c.Host != "" && c.Context != "" {
		return e, false, errors.New("conflicting options: cannot specify both --host and --context")
	}
	host := c.Host
	if host == "" && c.Context == "" {
		if host = c.Getenv("HOY_HOST"); host == "" {
			host = c.Getenv("DOCKER_HOST")
		}
	}
	if host != "" {
		e, err = c.endpoint(host)
		return e, false, err
	}
	dir := c.Dir()
	name := c.Context
	if name == "" {
		name = c.Getenv("DOCKER_CONTEXT")
	}
	if name == "" {
		name = readConfig(dir).CurrentContext
	}
	if name != "" && name != "default" {
		e, err = loadContext(dir, name)
		return e, false, err
	}
	e, err = c.endpoint(c.DefaultHost)
	return e, true, err
}

// Dir is the folder of config.json: --config, HOY_CONFIG, DOCKER_CONFIG, or docker's.
func (c Choice) Dir() string {
	if c.ConfigDir != "" {
		return c.ConfigDir
	}
	for _, name := range [...]string{"HOY_CONFIG", "DOCKER_CONFIG"} {
		if d := c.Getenv(name); d != "" {
			return d
		}
	}
	return c.DefaultDir
}

// endpoint adds what was said about TLS to a host.
func (c Choice) endpoint(host string) (Endpoint, error) {
	e := Endpoint{Host: host}
	verify := c.TLSVerify || c.Getenv("DOCKER_TLS_VERIFY") != ""
	if err := e.check(); err != nil || !c.TLS && !verify && c.Getenv("DOCKER_TLS") == "" {
		return e, err
	}
	dir := c.Getenv("DOCKER_CERT_PATH")
	if dir == "" {
		dir = c.Dir()
	}
	or := func(given, name string) string {
		if given != "" {
			return given
		}
		return filepath.Join(dir, name)
	}
	var err error
	e.TLS, err = tlsConfig(or(c.CACert, "ca.pem"), or(c.Cert, "cert.pem"), or(c.Key, "key.pem"), !verify)
	return e, err
}

// tlsConfig reads certificates; files that do not exist are left out.
func tlsConfig(ca, cert, key string, skipVerify bool) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify}
	pem, err := os.ReadFile(ca)
	if err == nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use the certificate authority %s: no certificate in it", ca)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the certificate authority: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err == nil {
		conf.Certificates = []tls.Certificate{pair}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the client's certificate %s: %w", cert, err)
	}
	return conf, nil
}

// Config is what we read of docker's config.json, besides credentials.
type Config struct {
	CurrentContext string
	HTTPHeaders    map[string]string `json:"HttpHeaders"`
	DetachKeys     string
	PruneFilters   []string
	Proxies        map[string]Proxies // by the engine's address, or "default"

	PsFormat, ImagesFormat, NetworksFormat, VolumesFormat, StatsFormat string
}

// Proxies are those that containers and builds are told of.
type Proxies struct{ HTTPProxy, HTTPSProxy, FTPProxy, AllProxy, NoProxy string }

// ProxyVariables are the variables, NAME=value, by which containers and builds of an engine
// are told of proxies.
func (c Config) ProxyVariables(host string) (l []string) {
	p, ok := c.Proxies[host]
	if !ok {
		p = c.Proxies["default"]
	}
	for _, v := range [...][2]string{{"HTTP_PROXY", p.HTTPProxy}, {"HTTPS_PROXY", p.HTTPSProxy}, {"FTP_PROXY", p.FTPProxy}, {"ALL_PROXY", p.AllProxy}, {"NO_PROXY", p.NoProxy}} {
		if v[1] != "" {
			l = append(l, v[0]+"="+v[1], strings.ToLower(v[0])+"="+v[1])
		}
	}
	return l
}

// readConfig reads it; one that is missing or cannot be read says nothing.
func readConfig(dir string) (conf Config) {
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil || json.Unmarshal(b, &conf) != nil {
		return Config{}
	}
	return conf
}

// Header are the headers of every request: those of DOCKER_CUSTOM_HEADERS, key=value pairs
// as a line of CSV, or else config.json's.
func (c Choice) Header() (map[string]string, error) {
	text := c.Getenv("DOCKER_CUSTOM_HEADERS")
	if text == "" {
		return c.Config().HTTPHeaders, nil
	}
	pairs, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return nil, fmt.Errorf("DOCKER_CUSTOM_HEADERS is no list of key=value pairs: %w", err)
	}
	h := map[string]string{}
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			return nil, fmt.Errorf("DOCKER_CUSTOM_HEADERS is no list of key=value pairs: %q is none", p)
		}
		h[strings.TrimSpace(k)] = v
	}
	return h, nil
}

// Config reads config.json.
func (c Choice) Config() Config { return readConfig(c.Dir()) }

// loadContext reads a context as docker stores it: in a folder named by the SHA-256
// of the context's name.
func loadContext(dir, name string) (Endpoint, error) {
	sum := sha256.Sum256([]byte(name))
	folder := hex.EncodeToString(sum[:])
	b, err := os.ReadFile(filepath.Join(dir, "contexts", "meta", folder, "meta.json"))
	if err != nil {
		return Endpoint{}, fmt.Errorf("cannot use the context %q: %w", name, err)
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(b, &meta); err != nil {
		return Endpoint{}, fmt.Errorf("cannot read the context %q: %w", name, err)
	}
	d, ok := meta.Endpoints["docker"]
	if !ok {
		return Endpoint{}, fmt.Errorf("cannot use the context %q: it names no engine", name)
	}
	e := Endpoint{Host: d.Host}
	keys := filepath.Join(dir, "contexts", "tls", folder, "docker")
	if _, err := os.Stat(keys); err == nil || d.SkipTLSVerify {
		if e.TLS, err = tlsConfig(filepath.Join(keys, "ca.pem"), filepath.Join(keys, "cert.pem"), filepath.Join(keys, "key.pem"), d.SkipTLSVerify); err != nil {
			return e, err
		}
	}
	return e, e.check()
}

// Contexts are the names of the contexts that docker has stored, and of the one that
// always is.
func (c Choice) Contexts() []string {
	names := []string{"default"}
	dir := filepath.Join(c.Dir(), "contexts", "meta")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		var meta struct{ Name string }
		b, err := os.ReadFile(filepath.Join(dir, e.Name(), "meta.json"))
		if err == nil && json.Unmarshal(b, &meta) == nil && meta.Name != "" {
			names = append(names, meta.Name)
		}
	}
	return names
}
