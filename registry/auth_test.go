package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/reference"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

// tokenServer guards a registry by Docker's token specification: reader may pull what
// begins with "public" without a password, and everything with it; writer may push too.
type tokenServer struct {
	tls   bool
	realm string // "": this server
	uses  int    // for how many requests a token is good; 0: any number

	mu     sync.Mutex
	tokens map[string][]string // token → scopes
	used   map[string]int
	asked  []string // METHOD grant scopes, of the token server
}

func (s *tokenServer) wrap(next http.Handler) http.Handler {
	s.tokens, s.used = map[string][]string{}, map[string]int{}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/token" {
			s.give(w, q)
			return
		}
		need := s.needs(q)
		token, _ := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		has := s.tokens[token]
		if s.used[token]++; s.used[token] == s.uses {
			delete(s.tokens, token)
		}
		s.mu.Unlock()
		if has == nil || need != "" && !slices.Contains(has, need) {
			realm := s.realm
			if realm == "" {
				realm = "http://" + q.Host + "/token"
				if s.tls {
					realm = "https://" + q.Host + "/token"
				}
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="test",scope="%s"`, realm, need))
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
			return
		}
		q.Header.Del("Authorization")
		next.ServeHTTP(w, q)
	})
}

// needs is the one action of a request.
func (s *tokenServer) needs(q *http.Request) string {
	name, ok := strings.CutPrefix(q.URL.Path, "/v2/")
	if !ok || name == "" {
		return ""
	}
	for _, end := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.Index(name, end); i >= 0 {
			name = name[:i]
			break
		}
	}
	if q.Method == http.MethodGet || q.Method == http.MethodHead {
		return "repository:" + name + ":pull"
	}
	return "repository:" + name + ":push"
}

// give answers a request for a token, by GET with a password or by POST with a refresh
// token.
func (s *tokenServer) give(w http.ResponseWriter, q *http.Request) {
	q.ParseForm()
	user, password, _ := q.BasicAuth()
	scopes, grant := q.Form["scope"], "password"
	if q.Method == http.MethodPost {
		grant = q.Form.Get("grant_type")
		scopes = strings.Fields(q.Form.Get("scope"))
		if user = strings.TrimPrefix(q.Form.Get("refresh_token"), "refresh-"); user == q.Form.Get("refresh_token") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	} else if user != "" && password != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"details":"incorrect username or password"}`)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, strings.Join(append([]string{q.Method, grant}, scopes...), " "))
	granted := []string{}
	for _, sc := range scopes {
		p := strings.Split(sc, ":") // repository, name, actions
		for _, a := range strings.Split(p[len(p)-1], ",") {
			if user == "writer" || a == "pull" && (user == "reader" || strings.HasPrefix(p[1], "public")) {
				granted = append(granted, p[0]+":"+p[1]+":"+a)
			}
		}
	}
	t := fmt.Sprintf("token-%d", len(s.asked))
	s.tokens[t] = granted
	answer := map[string]any{"token": t, "expires_in": 300}
	if q.Method == http.MethodPost {
		answer = map[string]any{"access_token": t, "expires_in": 300}
	}
	if q.Form.Get("offline_token") == "true" && user != "" {
		answer["refresh_token"] = "refresh-" + user
	}
	json.NewEncoder(w).Encode(answer)
}

// Whoever may do something can, with a password or a refresh token; one token for each
// set of scopes is enough.
func TestTokens(t *testing.T) {
	for _, tls := range []bool{false, true} {
		for _, a := range []Auth{{Username: "writer", Password: "secret"}, {IdentityToken: "refresh-writer"}} {
			s := &tokenServer{tls: tls}
			reg := registrytest.Start(t, registrytest.Options{Wrap: s.wrap, TLS: tls})
			r := open(t, reg, quick(), "private", a)
			d := push(t, r, "v1", []byte("{}"), random(100))
			if _, err := r.Resolve(t.Context(), "v1"); err != nil {
				t.Fatal(err)
			}
			if _, err := fetch(r, d, 0, -1); err != nil {
				t.Fatal(err)
			}
			if n := len(s.asked); n != 2 { // to push, to pull
				t.Errorf("asked for tokens %d times: %q", n, s.asked)
			}
			to := open(t, reg, quick(), "to", a)
			if ok, err := to.Mount(t.Context(), describe("", []byte("{}")), r.name); !ok || err != nil {
				t.Errorf("mount: %v, %v", ok, err)
			}
			if last := s.asked[len(s.asked)-1]; !strings.Contains(last, "repository:private:pull") || !strings.Contains(last, "repository:to:pull,push") {
				t.Errorf("to mount it asked for %q", last)
			}
		}
	}
}

// A registry may want more than we would ask for: it is asked once. A header of hosts.toml
// is for the host that it names, not for its token server elsewhere.
func TestWiderScopes(t *testing.T) {
	var asked []string
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked = append(asked, strings.Join(q.URL.Query()["scope"], " ")+" "+q.Header.Get("X-Secret")+q.Header.Get("User-Agent"))
		fmt.Fprint(w, `{"token":"`+fmt.Sprint(len(q.URL.Query()["scope"]))+`"}`)
	}))
	defer tokens.Close()
	reg := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Header.Get("X-Secret") != "s" {
			t.Error("the header is missing")
		}
		if q.Header.Get("Authorization") == "Bearer 2" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`",service="x",scope="repository:x:pull special:y:z"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})})
	c := quick()
	c.CertsDirs = []string{hostsToml(t, "example.com", "server = '"+reg.URL+"'\nheader = {X-Secret = 's'}")}
	r := as(t, c, "example.com/x", Auth{})
	for range 3 {
		if _, err := r.Tags(t.Context()); !fault.Is(err, fault.NotFound) || strings.Contains(err.Error(), "denied") {
			t.Fatal(err)
		}
	}
	if len(asked) != 1 || asked[0] != "repository:x:pull special:y:z test" || reg.Requests.Load() != 4 {
		t.Errorf("tokens were asked for %q, by %d requests", asked, reg.Requests.Load())
	}
}

// A token that is not taken any more is replaced.
func TestTokenExpires(t *testing.T) {
	s := &tokenServer{uses: 2}
	reg := registrytest.Start(t, registrytest.Options{Wrap: s.wrap})
	r := open(t, reg, quick(), "private", Auth{Username: "writer", Password: "secret"})
	blob := random(2 << 20)
	d := push(t, r, "v1", []byte("{}"), blob)
	for range 3 {
		if got, err := fetch(r, d, 0, -1); err != nil || len(got) != int(d.Size) {
			t.Fatal(err)
		}
	}
}

// Who may not is told so, with what to do, and the right kind of failure.
func TestRefused(t *testing.T) {
	s := &tokenServer{}
	reg := registrytest.Start(t, registrytest.Options{Wrap: s.wrap})
	push(t, open(t, reg, quick(), "public", Auth{Username: "writer", Password: "secret"}), "v1", []byte("{}"))
	push(t, open(t, reg, quick(), "private", Auth{Username: "writer", Password: "secret"}), "v1", []byte("{}"))

	for _, tc := range []struct {
		name string
		auth Auth
		tag  string
		kind fault.Kind
		want string // "": it works
	}{
		{"public", Auth{}, "v1", 0, ""},
		{"private", Auth{Username: "reader", Password: "secret"}, "v1", 0, ""},
		{"private", Auth{}, "v1", fault.NotFound, "pull access denied for " + reg.Host + "/private: the repository does not exist or asks for other credentials, which \"hoy login " + reg.Host + "\" stores: registry " + reg.Host + " answers 401 Unauthorized: authentication required"},
		{"private", Auth{Username: "reader", Password: "wrong"}, "v1", fault.NotFound, "token server " + reg.Host + " answers 401 Unauthorized: incorrect username or password"},
		{"private", Auth{IdentityToken: "gone"}, "v1", fault.NotFound, "token server " + reg.Host + " answers 401 Unauthorized"},
		{"private", Auth{RegistryToken: "no"}, "v1", fault.NotFound, "pull access denied"},
		{"private", Auth{Username: "reader", Password: "secret", ServerAddress: "example.com"}, "v1", fault.NotFound, "stores (those that were given are for example.com): registry"},
		{"public", Auth{}, "v2", fault.NotFound, reg.Host + "/public:v2 not found: registry " + reg.Host + " answers 404 Not Found: manifest unknown"},
	} {
		_, err := open(t, reg, quick(), tc.name, tc.auth).Resolve(t.Context(), tc.tag)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !fault.Is(err, tc.kind)) {
			t.Errorf("%s:%s as %q: %v (kind %d); want %q", tc.name, tc.tag, tc.auth.Username, err, fault.KindOf(err), tc.want)
		}
	}
	err := send(t.Context(), open(t, reg, quick(), "private", Auth{Username: "reader", Password: "secret"}), []byte("x"))
	if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "push access denied for") {
		t.Errorf("push by who may only read: %v", err)
	}
}

// Basic authentication, for a registry without token server.
func TestBasic(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if u, p, _ := q.BasicAuth(); u != "me" || p != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, q)
		})
	}})
	push(t, open(t, reg, quick(), "x", Auth{Username: "me", Password: "secret"}), "v1", []byte("{}"))
	for _, a := range []Auth{{}, {Username: "me", Password: "wrong"}} {
		before := reg.Requests.Load()
		if _, err := open(t, reg, quick(), "x", a).Resolve(t.Context(), "v1"); !fault.Is(err, fault.NotFound) {
			t.Errorf("%+v: %v", a, err)
		}
		if n := reg.Requests.Load() - before; n > 4 {
			t.Errorf("%+v: %d requests", a, n)
		}
	}
}

// Credentials go to no token server without TLS, nor to one that is none.
func TestRealm(t *testing.T) {
	for _, realm := range []string{"http://example.com/token", "file:///etc/passwd", "https://u:p@example.com/", "/token", ""} {
		s := &tokenServer{realm: realm, tls: true}
		reg := registrytest.Start(t, registrytest.Options{Wrap: s.wrap, TLS: true})
		cl, err := New(quick())
		if err != nil {
			t.Fatal(err)
		}
		cl.insecure.nets = nil // a certificate is asked for
		named, _ := reference.ParseNormalizedNamed(reg.Host + "/x")
		cl.c.CertsDirs = []string{certs(t, reg)}
		r, err := cl.Repository(t.Context(), named, Auth{Username: "reader", Password: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		if realm == "" {
			s.realm = "ftp://" + reg.Host + "/token"
		}
		if _, err := r.Resolve(t.Context(), "v1"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "token server") {
			t.Errorf("realm %q: %v", realm, err)
		}
	}
}
