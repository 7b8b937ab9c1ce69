package client

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hoy/client/configfile"
	"hoy/client/contexts"
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

	file *configfile.File // read once
	conf *Config
}

// Resolve finds the engine: --host, --context, HOY_HOST, DOCKER_HOST,
// DOCKER_CONTEXT, the context in use, and then the default socket; implicit is true
// for the last.
func (c *Choice) Resolve() (e Endpoint, implicit bool, err error) {
	if err := c.Check(); err != nil {
		return e, false, err
	}
	if name := c.ContextName(); name != contexts.Default {
		e, err = c.loadContext(name)
		return e, false, err
	}
	host := c.saidHost()
	if host == "" {
		host, implicit = c.DefaultHost, true
	}
	e, err = c.endpoint(host)
	return e, implicit && err == nil, err
}

// Check refuses what contradicts itself.
func (c *Choice) Check() error {
	if c.Host != "" && c.Context != "" {
		return errors.New("conflicting options: cannot specify both --host and --context")
	}
	return nil
}

// saidHost is the engine's address as it was said besides contexts, "" if it was not.
func (c *Choice) saidHost() string {
	return cmp.Or(c.Host, c.Getenv("HOY_HOST"), c.Getenv("DOCKER_HOST"))
}

// Overrides is the variable of the environment that contexts are not asked because of, ""
// if there is none.
func (c *Choice) Overrides() string {
	for _, name := range [...]string{"HOY_HOST", "DOCKER_HOST"} {
		if c.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// ContextName is the name of the context in use, as docker has it: default where an engine
// was named otherwise.
func (c *Choice) ContextName() string {
	switch {
	case c.Context != "":
		return c.Context
	case c.saidHost() != "":
		return contexts.Default
	}
	return cmp.Or(c.Getenv("DOCKER_CONTEXT"), c.Config().CurrentContext, contexts.Default)
}

// DefaultContext is what is used where no context is, as a context.
func (c *Choice) DefaultContext() (*contexts.Context, contexts.TLS, error) {
	tls := contexts.TLS{}
	files, skip := c.certificates()
	content := map[string][]byte{}
	for name, path := range files {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		if err == nil {
			content[name] = b
		}
	}
	tls.PutEngine(content)
	e := contexts.Endpoint{Host: cmp.Or(c.saidHost(), c.DefaultHost), SkipTLSVerify: skip}
	return contexts.New(contexts.Default, "", e), tls, nil
}

// Dir is the folder of config.json: --config, HOY_CONFIG, DOCKER_CONFIG, or docker's.
func (c *Choice) Dir() string {
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

// certificates are the files that were said, or that docker has them in, by their names
// in a context; none without TLS.
func (c *Choice) certificates() (files map[string]string, skipVerify bool) {
	verify := c.TLSVerify || c.Getenv("DOCKER_TLS_VERIFY") != ""
	if !c.TLS && !verify && c.Getenv("DOCKER_TLS") == "" {
		return nil, false
	}
	dir := cmp.Or(c.Getenv("DOCKER_CERT_PATH"), c.Dir())
	or := func(given, name string) string {
		if given != "" {
			return given
		}
		return filepath.Join(dir, name)
	}
	return map[string]string{"ca.pem": or(c.CACert, "ca.pem"), "cert.pem": or(c.Cert, "cert.pem"), "key.pem": or(c.Key, "key.pem")}, !verify
}

// endpoint adds what was said about TLS to a host.
func (c *Choice) endpoint(host string) (Endpoint, error) {
	e := Endpoint{Host: host}
	files, skipVerify := c.certificates()
	if err := e.check(); err != nil || files == nil {
		return e, err
	}
	var err error
	e.TLS, err = tlsConfig(files["ca.pem"], files["cert.pem"], files["key.pem"], skipVerify)
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

// Header are the headers of every request: those of DOCKER_CUSTOM_HEADERS, key=value pairs
// as a line of CSV, or else config.json's.
func (c *Choice) Header() (map[string]string, error) {
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

// File is config.json, which is read once.
func (c *Choice) File() *configfile.File {
	if c.file == nil {
		c.file = configfile.Read(c.Dir())
	}
	return c.file
}

// Config is what config.json says; one that is missing or cannot be read says nothing.
func (c *Choice) Config() Config {
	if c.conf == nil {
		c.conf = &Config{}
		if c.File().All(c.conf) != nil {
			c.conf = &Config{}
		}
	}
	return *c.conf
}

// loadContext reads how a context's engine is reached: by the default address if it has
// none of its own.
func (c *Choice) loadContext(name string) (Endpoint, error) {
	s := contexts.In(c.Dir())
	stored, err := s.Get(name)
	if err != nil {
		return Endpoint{}, fmt.Errorf("unable to resolve docker endpoint: %w", err)
	}
	d, err := stored.Engine()
	if err != nil {
		return Endpoint{}, fmt.Errorf("cannot use the context %q: it names no engine", name)
	}
	e := Endpoint{Host: cmp.Or(d.Host, c.DefaultHost)}
	if s.HasTLS(name) || d.SkipTLSVerify {
		if e.TLS, err = tlsConfig(s.EngineFile(name, "ca.pem"), s.EngineFile(name, "cert.pem"), s.EngineFile(name, "key.pem"), d.SkipTLSVerify); err != nil {
			return e, err
		}
	}
	return e, e.check()
}

// CheckContext refuses a context whose engine could not be asked: an address that means
// nothing, certificates that are none.
func CheckContext(e contexts.Endpoint, ca, cert, key string) error {
	if err := (Endpoint{Host: e.Host}).check(); e.Host != "" && err != nil {
		return err
	}
	_, err := tlsConfig(ca, cert, key, e.SkipTLSVerify)
	return err
}

// Contexts are the names of the contexts that are stored, and of the one that always is.
func (c *Choice) Contexts() []string {
	names := []string{contexts.Default}
	list, _ := contexts.In(c.Dir()).List()
	for _, l := range list {
		names = append(names, l.Name)
	}
	return names
}
