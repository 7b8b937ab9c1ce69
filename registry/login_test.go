package registry

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	apiregistry "github.com/moby/moby/api/types/registry"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

func TestLogin(t *testing.T) {
	s := &tokenServer{}
	reg := registrytest.Start(t, registrytest.Options{Wrap: s.wrap})
	open := registrytest.Start(t, registrytest.Options{})
	web := registrytest.Start(t, registrytest.Options{Wrap: func(http.Handler) http.Handler { return http.NotFoundHandler() }})
	c, err := New(quick())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		auth  Auth
		token string
		kind  fault.Kind
		says  string // "": it succeeds
	}{
		{Auth{Username: "reader", Password: "secret", ServerAddress: reg.Host}, "refresh-reader", 0, ""},
		{Auth{Username: "reader", Password: "secret", ServerAddress: reg.URL + "/v1/"}, "refresh-reader", 0, ""},
		{Auth{IdentityToken: "refresh-reader", ServerAddress: reg.Host}, "refresh-reader", 0, ""},
		{Auth{Username: "reader", Password: "wrong", ServerAddress: reg.Host}, "", fault.Unauthorized, "refuses the login: token server " + reg.Host + " answers 401 Unauthorized: incorrect username or password"},
		{Auth{Username: "any", Password: "thing", ServerAddress: open.Host}, "", 0, ""},
		{Auth{Username: "x", Password: "y", ServerAddress: web.Host}, "", fault.Invalid, "is no registry"},
		{Auth{Username: "x", Password: "y", ServerAddress: "127.0.0.1:1"}, "", fault.Unavailable, "nobody answers at 127.0.0.1:1"},
	} {
		token, err := c.Login(t.Context(), tc.auth)
		if token != tc.token || tc.says == "" && err != nil || tc.says != "" && (err == nil || !fault.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%+v: %q, %v", tc.auth, token, err)
		}
	}
}

func TestSearch(t *testing.T) {
	var asked url.Values
	var user string
	reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/v1/search" {
				http.NotFound(w, q)
				return
			}
			asked = q.URL.Query()
			user, _, _ = q.BasicAuth()
			json.NewEncoder(w).Encode(apiregistry.SearchResults{Results: []apiregistry.SearchResult{
				{Name: "a", StarCount: 5, IsOfficial: true}, {Name: "b", StarCount: 9}, {Name: "c", StarCount: 1},
			}})
		})
	}})
	c, err := New(quick())
	if err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	for _, tc := range []struct {
		o    SearchOptions
		want string
	}{
		{SearchOptions{}, "a b c"},
		{SearchOptions{Official: &yes}, "a"},
		{SearchOptions{Official: &no, Stars: 2}, "b"},
		{SearchOptions{Stars: 10}, ""},
	} {
		tc.o.Term = reg.Host + "/x y"
		found, err := c.Search(t.Context(), tc.o, Auth{Username: "me", Password: "p"})
		var names []string
		for _, f := range found {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); got != tc.want || err != nil || asked.Get("q") != "x y" || asked.Get("n") != "25" || user != "me" {
			t.Errorf("%+v: %q, %v; asked for %v as %q", tc.o, got, err, asked, user)
		}
	}
	plain := registrytest.Start(t, registrytest.Options{})
	for term, says := range map[string]string{
		"https://" + reg.Host + "/x": "without scheme", "": "nothing", plain.Host + "/x": "cannot be searched",
	} {
		if _, err := c.Search(t.Context(), SearchOptions{Term: term}, Auth{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", term, err)
		}
	}
	if _, err := c.Search(t.Context(), SearchOptions{Term: "x", Limit: 101}, Auth{}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestSplitTerm(t *testing.T) {
	for term, want := range map[string][2]string{
		"x": {defaultDomain, "x"}, "library/x": {defaultDomain, "x"}, "a/x": {defaultDomain, "a/x"},
		"example.com/a/x": {"example.com", "a/x"}, "localhost/x": {"localhost", "x"}, "a:5000/x": {"a:5000", "x"},
		defaultDomain + "/library/x": {defaultDomain, "x"}, "index." + defaultDomain + "/x": {defaultDomain, "x"},
	} {
		if domain, rest := splitTerm(term); domain != want[0] || rest != want[1] {
			t.Errorf("%q: %q %q", term, domain, rest)
		}
	}
}
