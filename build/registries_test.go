package build

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	apiregistry "github.com/moby/moby/api/types/registry"

	"hoy/registry"
	"hoy/registry/registrytest"
	"hoy/test/rootful"
)

// domain is that of the certificate which registrytest has.
const domain = "example.com"

// secured is a registry with TLS, reached as example.com by a proxy alone, which wants a
// token for everything, and a mirror without TLS that knows nobody.
type secured struct {
	*registrytest.Registry
	mirror *registrytest.Registry
	proxy  *httptest.Server
	certs  string // as certs.d

	mu     sync.Mutex
	tokens map[string]bool
	leaked string // what the mirror was told that is not its business
}

func newSecured(t *testing.T) *secured {
	s := &secured{tokens: map[string]bool{}, certs: t.TempDir()}
	s.Registry = registrytest.Start(t, registrytest.Options{TLS: true, Wrap: s.guard})
	s.mirror = registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			s.mu.Lock()
			s.leaked += q.Header.Get("Authorization")
			s.mu.Unlock()
			next.ServeHTTP(w, q)
		})
	}})
	s.proxy = httptest.NewServer(http.HandlerFunc(s.connect))
	t.Cleanup(s.proxy.Close)
	dir := filepath.Join(s.certs, domain)
	ca, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	toml := fmt.Sprintf("ca = 'authority.pem'\n[host.%q]\ncapabilities = ['pull', 'resolve']\n", s.mirror.URL)
	for name, text := range map[string]string{"authority.pem": string(ca), "hosts.toml": toml} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// connect is the proxy's only method.
func (s *secured) connect(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodConnect || q.Host != domain+":443" {
		http.Error(w, "no such host", http.StatusBadGateway)
		return
	}
	far, err := net.Dial("tcp", s.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		return
	}
	io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { io.Copy(far, near); far.Close() }()
	io.Copy(near, far)
	near.Close()
}

// guard asks for a token, which me gets for a password.
func (s *secured) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if q.URL.Path == "/token" {
			if err := q.ParseForm(); err != nil {
				return
			}
			user, password, basic := q.BasicAuth()
			if !basic {
				user, password = q.Form.Get("username"), q.Form.Get("password")
			}
			if user != "me" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			token := fmt.Sprint("token-", len(s.tokens))
			s.tokens[token] = true
			json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
			return
		}
		if token, _ := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer "); !s.tokens[token] {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+domain+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		q.Header.Del("Authorization")
		next.ServeHTTP(w, q)
	})
}

// newBench makes a builder that reaches registries as an engine does.
func (s *secured) newBench(t *testing.T) *bench {
	rootful.Check(t)
	proxy, err := url.Parse(s.proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := registry.New(registry.Config{CertsDirs: []string{s.certs}, Delay: time.Millisecond, Proxy: func(u *url.URL) (*url.URL, error) {
		if u.Hostname() == domain {
			return proxy, nil
		}
		return nil, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := &bench{t: t, dir: t.TempDir(), hosts: func(domain string) ([]docker.RegistryHost, error) { return c.Hosts(context.Background(), domain) }}
	h.open()
	t.Cleanup(h.close)
	t.Cleanup(func() { // what is idle would stay open for a while
		for _, srv := range []*httptest.Server{s.Server, s.mirror.Server, s.proxy} {
			srv.CloseClientConnections()
		}
	})
	h.b.ForgetRegistries()
	return h
}

// TestRegistries: a build's FROM, its push and its cache reach registries by the engine's
// configuration: mirrors first and without credentials, with the authority of hosts.toml,
// through the proxy; those of loopback without TLS. Credentials come with the request or by
// the client's session.
func TestRegistries(t *testing.T) {
	s := newSecured(t)
	me := map[string]apiregistry.AuthConfig{domain: {Username: "me", Password: "secret"}}
	push := []Output{{Type: "registry"}}
	build := func(h *bench, dockerfile string, r Request) error {
		r.Context = archive(t, "Dockerfile", dockerfile)
		_, err := h.b.Build(t.Context(), r)
		return err
	}
	t.Run("there", func(t *testing.T) {
		h := s.newBench(t)
		h.busybox()
		if err := build(h, "FROM busybox\nRUN echo mirrored > /f\n", Request{Tags: []string{s.mirror.Host + "/lib/mirrored"}, Outputs: push}); err != nil {
			t.Fatalf("push to a registry without TLS: %v", err)
		}
		own := Request{Tags: []string{domain + "/lib/own"}, Outputs: push, Auth: me}
		if err := build(h, "FROM busybox\nRUN echo own > /f\n", own); err != nil {
			t.Fatalf("push: %v", err)
		}
		other := Request{Tags: []string{domain + "/lib/other"}, Outputs: []Output{{Type: "image", Attrs: map[string]string{"push": "true"}}}, Auth: me,
			CacheTo: []string{"type=registry,ref=" + domain + "/lib/cache"}}
		if err := build(h, "FROM example.com/lib/mirrored\nRUN echo other > /f\n", other); err != nil {
			t.Errorf("push of an image that stays, and of the cache: %v", err)
		}
		own.Auth = nil
		if err := build(h, "FROM busybox\nRUN echo nobody > /f\n", own); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("push as nobody: %v", err)
		}
		own.Auth = map[string]apiregistry.AuthConfig{domain: {Username: "me", Password: "wrong"}}
		if err := build(h, "FROM busybox\nRUN echo nobody > /f\n", own); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("push with a wrong password: %v", err)
		}
		session := func(o *client.SolveOpt) {
			o.Session = append(o.Session, credentials{auths: me})
			o.Exports = []client.ExportEntry{{Type: "image", Attrs: map[string]string{"name": domain + "/lib/session", "push": "true"}}}
		}
		if got, err := h.build(t.Context(), "FROM busybox\nRUN echo session > /f\n", nil, session); err != nil {
			t.Errorf("push with a session's credentials: %v\n%s", err, got.log)
		}
	})
	t.Run("back", func(t *testing.T) {
		h := s.newBench(t)
		before := s.Requests.Load()
		if err := build(h, "FROM example.com/lib/mirrored\nRUN grep mirrored /f\n", Request{}); err != nil {
			t.Errorf("FROM by the mirror: %v", err)
		}
		if n := s.Requests.Load() - before; n > 0 {
			t.Errorf("the registry was asked %d times for what its mirror has", n)
		}
		if err := build(h, "FROM example.com/lib/own\nRUN grep own /f\n", Request{}); err == nil {
			t.Error("FROM as nobody")
		}
		for _, name := range []string{"own", "other", "session"} {
			if err := build(h, "FROM example.com/lib/"+name+"\nRUN grep "+name+" /f\n", Request{Auth: me}); err != nil {
				t.Errorf("FROM %s: %v", name, err)
			}
		}
		cached := ""
		r := Request{CacheFrom: []string{domain + "/lib/cache"}, Auth: me, Trace: func(news *control.StatusResponse) {
			for _, v := range news.Vertexes {
				if v.Cached {
					cached += v.Name + "\n"
				}
			}
		}}
		if err := build(h, "FROM example.com/lib/mirrored\nRUN echo other > /f\n", r); err != nil || !strings.Contains(cached, "RUN echo other") {
			t.Errorf("of the registry's cache comes %q, %v", cached, err)
		}
		s.mirror.Close()
		if err := build(h, "FROM example.com/lib/own\nRUN grep own /f\n", Request{Auth: me, Pull: true, NoCache: true}); err != nil {
			t.Errorf("FROM with a mirror that is down: %v", err)
		}
	})
	if s.leaked != "" {
		t.Errorf("the mirror was given %s", s.leaked)
	}
}
