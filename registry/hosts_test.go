package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

// certs makes a folder as certs.d, with a registry's authority.
func certs(t *testing.T, reg *registrytest.Registry) string {
	t.Helper()
	dir := t.TempDir()
	pem, err := os.ReadFile(reg.CA)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, reg.Host, "ca.crt"), string(pem))
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// as gives a repository of a domain that the configuration leads elsewhere.
func as(t *testing.T, c Config, name string, a Auth) *Repository {
	t.Helper()
	cl, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := cl.Repository(t.Context(), named, a)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// hostsToml is a folder as certs.d in which a domain has a hosts.toml.
func hostsToml(t *testing.T, domain, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, domain, "hosts.toml"), text)
	return dir
}

// A mirror is asked first, without the registry's credentials, and the registry for what
// the mirror does not have. What is pushed goes to the registry.
func TestMirrors(t *testing.T) {
	s := &tokenServer{}
	reg := registrytest.Start(t, registrytest.Options{Wrap: s.wrap})
	var namespace string
	mirror := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		if v := q.Header.Get("Authorization"); v != "" {
			t.Errorf("the mirror was given %s", v)
		}
		namespace = q.URL.Query().Get("ns")
		return false
	})})
	push(t, open(t, mirror, quick(), "private", Auth{}), "both", []byte("{}"))

	c := quick()
	c.CertsDirs = []string{hostsToml(t, "example.com", `
server = "`+reg.URL+`"
[host."`+mirror.URL+`"]
capabilities = ["pull", "resolve"]
`)}
	warned := 0
	c.Warn = func(string, ...any) { warned++ }
	r := as(t, c, "example.com/private", Auth{Username: "writer", Password: "secret"})
	both := push(t, r, "both", []byte("{}"))
	own := push(t, r, "own", []byte("[]"))
	for _, tc := range []struct {
		tag    string
		mirror bool
	}{{"both", true}, {"own", false}} {
		before := reg.Requests.Load()
		d, err := r.Resolve(t.Context(), tc.tag)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fetch(r, d, 0, -1); err != nil {
			t.Fatal(err)
		}
		if asked := reg.Requests.Load() > before; asked == tc.mirror {
			t.Errorf("%s: the registry was asked: %v", tc.tag, asked)
		}
	}
	if both.Digest == own.Digest || namespace != "example.com" || warned != 1 {
		t.Errorf("the mirror knows the domain as %q; %d warnings", namespace, warned)
	}
	mirror.Close()
	if _, err := r.Resolve(t.Context(), "both"); err != nil {
		t.Errorf("with a mirror that is down: %v", err)
	}
	if !r.endpoints[0].down.Load() || r.endpoints[1].down.Load() {
		t.Error("the mirror that is down is asked again and again")
	}
	defer func() {
		reg.Close()
		r.endpoints[0].down.Store(false)
		if _, err := r.Resolve(t.Context(), "both"); !fault.Is(err, fault.Unavailable) || strings.Count(err.Error(), "nobody answers at") != 2 {
			t.Errorf("with nobody there: %v", err)
		}
	}()
	if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 2 {
		t.Errorf("%q, %v", tags, err)
	}
	if _, err := r.Resolve(t.Context(), "none"); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "example.com/private:none not found: registry "+reg.Host) {
		t.Errorf("what nobody has: %v", err)
	}
}

// Mirrors of the configuration are the default registry's, and no other's.
func TestDefaultMirrors(t *testing.T) {
	c := Config{Mirrors: []string{"https://example.com", "http://example.org/proxy/"}}
	for name, want := range map[string]string{
		"x":             "https://example.com/v2 http://example.org/proxy/v2 https://" + registryHost(defaultDomain) + "/v2",
		"example.org/x": "https://example.org/v2",
	} {
		var l []string
		for _, e := range as(t, c, name, Auth{}).endpoints {
			l = append(l, e.base.String())
		}
		if got := strings.Join(l, " "); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	r := as(t, c, "x", Auth{Username: "me", ServerAddress: "https://index." + defaultDomain + "/v1/"})
	for n, e := range r.endpoints {
		if last := n == len(r.endpoints)-1; (e.auth.secret.Username != "") != last || e.can.Has(docker.HostCapabilityPush) != last || e.plain != (e.base.Scheme == "http") {
			t.Errorf("endpoint %+v", e)
		}
	}
	for _, m := range []string{"example.com", "ftp://example.com", "https://", "https://u:p@example.com", "https://example.com?x", "https://example.com#x", ":"} {
		if _, err := New(Config{Mirrors: []string{m}}); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: %v", m, err)
		}
	}
}

func TestInsecure(t *testing.T) {
	i, err := parseInsecure([]string{"example.com:5000", "192.0.2.0/24", "http://example.org", "[2001:db8::1]:5000", defaultDomain})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"example.com:5000": true, "example.com:5001": false, "192.0.2.7:80": true, "192.0.2.7": true, "192.0.3.7": false, "example.org": true,
		"127.0.0.1:5000": true, "[::1]:5000": true, "[::1]": true, "[2001:db8::1]:5000": true, "[2001:db8::2]:5000": false, "localhost:5000": true, "localhost": true,
		defaultDomain: false, registryHost(defaultDomain): false, "none.invalid": false,
	} {
		if i.has(t.Context(), host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	for _, bad := range []string{"", "a b", "https://", "x/y", "-x", "ftp://example.com"} {
		if _, err := parseInsecure([]string{bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestIsFor(t *testing.T) {
	for _, tc := range []struct {
		address, domain string
		want            bool
	}{
		{"", "example.com", true}, {"example.com", "example.com", true}, {"https://example.com/v1/", "example.com", true},
		{"example.com:443", "example.com", false}, {"example.org", "example.com", false},
		{"https://index." + defaultDomain + "/v1/", defaultDomain, true}, {defaultDomain, defaultDomain, true}, {"index.example.com", "example.com", false},
		{"https://index." + defaultDomain + "/v1/", "example.com", false},
	} {
		if got := (Auth{ServerAddress: tc.address}).isFor(tc.domain); got != tc.want {
			t.Errorf("%q for %s: %v", tc.address, tc.domain, got)
		}
	}
}

func TestParseHosts(t *testing.T) {
	hosts, err := parseHosts(`
server = "https://example.com/base"
ca = "/ca.crt"
header = {X-A = "1"}

[host."http://b.example.org:5000"]
capabilities = ["pull", "Resolve"]
ca = ["one.crt", "two.crt"]
client = [["c.cert", "c.key"], "d.pem"]
skip_verify = true
dial_timeout = "3s"
[host."http://b.example.org:5000".header]
x-token = ["1", "2"]

[host."a.example.org/v2/path"]
override_path = true
client = "both.pem"
`, "/d")
	if err != nil {
		t.Fatal(err)
	}
	u := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	want := []host{
		{
			base: u("http://b.example.org:5000/v2"), can: docker.HostCapabilityPull | docker.HostCapabilityResolve, ca: []string{"/d/one.crt", "/d/two.crt"},
			client: [][2]string{{"/d/c.cert", "/d/c.key"}, {"/d/d.pem", "/d/d.pem"}}, skipVerify: true, dialTimeout: 3 * time.Second,
			header: http.Header{"X-Token": {"1", "2"}},
		},
		{base: u("https://a.example.org/v2/path"), can: allCapabilities, client: [][2]string{{"/d/both.pem", "/d/both.pem"}}},
		{base: u("https://example.com/base/v2"), can: allCapabilities, ca: []string{"/ca.crt"}, header: http.Header{"X-A": {"1"}}},
	}
	if !reflect.DeepEqual(hosts, want) {
		t.Errorf("got  %+v\nwant %+v", hosts, want)
	}
	for text, says := range map[string]string{
		"x":                               "toml",
		"servr = 'x'":                     "unknown key servr",
		"[host.x]\ncapability = ['pull']": "unknown key host.x.capability",
		"capabilities = ['fly']":          `unknown capability "fly"`,
		"ca = 1":                          "ca: want",
		"client = [[1]]":                  "client: want",
		"client = [['a','b','c']]":        "client: want",
		"dial_timeout = 'soon'":           "dial_timeout",
		"server = 'https://u:p@h'":        "without credentials",
		"header = {a = 1}":                "header a",
	} {
		if _, err := parseHosts(text, "/d"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A file with a mistake is told, not passed over.
func TestBrokenHosts(t *testing.T) {
	cl, err := New(Config{CertsDirs: []string{hostsToml(t, "example.com", "server = 1")}})
	if err != nil {
		t.Fatal(err)
	}
	named, _ := reference.ParseNormalizedNamed("example.com/x")
	if _, err := cl.Repository(t.Context(), named, Auth{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "hosts.toml") {
		t.Error(err)
	}
}

func TestCertsDir(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, p := range []string{one + "/_default", two + "/example.com:5000", two + "/example.org_5000_", two + "/example.net"} {
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := &Client{c: Config{CertsDirs: []string{one, two}}}
	for domain, want := range map[string]string{
		"example.com:5000": two + "/example.com:5000", "example.org:5000": two + "/example.org_5000_", "example.net": two + "/example.net", "example.com": one + "/_default",
	} {
		if got, err := c.certsDir(domain); got != want || err != nil {
			t.Errorf("%s: %s, %v", domain, got, err)
		}
	}
}

// A registry that asks for a client's certificate gets the one in its folder; without it,
// or without its authority, there is a word about what to do.
func TestCertificates(t *testing.T) {
	cert, key := selfSigned(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	reg := registrytest.Start(t, registrytest.Options{})
	s := httptest.NewUnstartedServer(reg.Config.Handler)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	defer s.Close()
	secured := &registrytest.Registry{Host: strings.TrimPrefix(s.URL, "https://"), CA: filepath.Join(t.TempDir(), "ca")}
	write(t, secured.CA, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))

	strict := func(dirs ...string) error {
		c := quick()
		c.CertsDirs = dirs
		cl, err := New(c)
		if err != nil {
			return err
		}
		cl.insecure.nets = nil
		named, _ := reference.ParseNormalizedNamed(secured.Host + "/x")
		r, err := cl.Repository(t.Context(), named, Auth{})
		if err != nil {
			return err
		}
		_, err = r.Tags(t.Context())
		return err
	}
	if err := strict(); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "certificate that cannot be trusted; put its authority's into certs.d/"+secured.Host+"/ca.crt") {
		t.Errorf("without its authority: %v", err)
	}
	dir := certs(t, secured)
	if err := strict(dir); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a certificate: %v", err)
	}
	write(t, filepath.Join(dir, secured.Host, "client.cert"), string(cert))
	if err := strict(dir); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "has no key") {
		t.Errorf("without a key: %v", err)
	}
	write(t, filepath.Join(dir, secured.Host, "client.key"), string(key))
	if err := strict(dir); !fault.Is(err, fault.NotFound) { // it answers: there is no such repository
		t.Errorf("with everything: %v", err)
	}
	toml := hostsToml(t, secured.Host, "ca = 'a.crt'\nclient = [['c.cert', 'c.key']]\n")
	for name, text := range map[string]string{"c.cert": string(cert), "c.key": string(key)} {
		write(t, filepath.Join(toml, secured.Host, name), text)
	}
	write(t, filepath.Join(toml, secured.Host, "a.crt"), "nonsense")
	if err := strict(toml); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("an authority that is none: %v", err)
	}
	ca, _ := os.ReadFile(secured.CA)
	write(t, filepath.Join(toml, secured.Host, "a.crt"), string(ca))
	if err := strict(toml); !fault.Is(err, fault.NotFound) {
		t.Errorf("by hosts.toml: %v", err)
	}
}

// A registry that does not speak TLS is not spoken to without it, unless it may be.
func TestNoDowngrade(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	cl, err := New(quick())
	if err != nil {
		t.Fatal(err)
	}
	cl.insecure.nets = nil
	named, _ := reference.ParseNormalizedNamed(reg.Host + "/x")
	r, err := cl.Repository(t.Context(), named, Auth{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Tags(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "insecure-registries") {
		t.Error(err)
	}
	if reg.Requests.Load() != 0 {
		t.Error("it was spoken to in the clear")
	}
}

// A proxy has a registry's requests, and no others' than its rules say.
func TestProxy(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		user, _, _ := (&http.Request{Header: http.Header{"Authorization": q.Header["Proxy-Authorization"]}}).BasicAuth()
		asked = append(asked, user+" "+q.URL.String())
		reg.Config.Handler.ServeHTTP(w, q)
	}))
	defer proxy.Close()
	c := quick()
	c.CertsDirs = []string{hostsToml(t, "example.com", "server = 'http://registry.example.com'")}
	c.Proxy = func(u *url.URL) (*url.URL, error) {
		if u.Host != "registry.example.com" {
			return nil, nil
		}
		p, err := url.Parse(proxy.URL)
		p.User = url.UserPassword("me", "secret")
		return p, err
	}
	r := as(t, c, "example.com/x", Auth{})
	push(t, r, "v1", []byte("{}"))
	if _, err := r.Resolve(t.Context(), "v1"); err != nil || len(asked) == 0 || asked[len(asked)-1] != "me http://registry.example.com/v2/x/manifests/v1?ns=example.com" {
		t.Errorf("%v; the proxy was asked %q", err, asked)
	}
	proxy.Close()
	if _, err := r.Resolve(t.Context(), "v1"); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("with no proxy there: %v", err)
	}
}

// selfSigned makes a certificate and its key (PEM).
func selfSigned(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb})
}
