package server

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/distribution/reference"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

func TestLogin(t *testing.T) {
	var got apiregistry.AuthConfig
	b := &backend{login: func(a apiregistry.AuthConfig) (string, error) {
		if got = a; a.Password != "secret" {
			return "", fault.New(fault.Unauthorized, "wrong")
		}
		return "token", nil
	}}
	socket, _ := serve(t, b)
	r, err := docker(t, socket).RegistryLogin(t.Context(), client.RegistryLoginOptions{Username: "me", Password: "secret", ServerAddress: "example.com"})
	if err != nil || r.Auth.IdentityToken != "token" || r.Auth.Status != "Login Succeeded" || got.Username != "me" || got.ServerAddress != "example.com" {
		t.Errorf("%+v, %v; %+v", r, err, got)
	}
	for body, want := range map[string]int{
		`{"auth":"` + base64.StdEncoding.EncodeToString([]byte("me:secret")) + `"}`: 200,
		`{"auth":"?"}`:                     400,
		`{"username":"me","password":"x"}`: 401,
		`[`:                                400,
	} {
		if resp, text := call(t, socket, "POST", "/auth", strings.NewReader(body), "Content-Type", "application/json"); resp.StatusCode != want {
			t.Errorf("%s: %d %s", body, resp.StatusCode, text)
		}
	}
}

func TestSearch(t *testing.T) {
	var got SearchOptions
	b := &backend{search: func(o SearchOptions) ([]apiregistry.SearchResult, error) {
		got = o
		return []apiregistry.SearchResult{{Name: "x", StarCount: 7}}, nil
	}}
	socket, _ := serve(t, b)
	official := true
	r, err := docker(t, socket).ImageSearch(t.Context(), "term", client.ImageSearchOptions{
		Limit: 5, Filters: client.Filters{}.Add("is-official", "true").Add("stars", "3", "4"),
	})
	want := SearchOptions{Term: "term", Limit: 5, Official: &official, Stars: 4}
	if err != nil || len(r.Items) != 1 || r.Items[0].StarCount != 7 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; asked for %+v", r, err, got)
	}
	for query, body := range map[string]string{
		`?term=x&limit=many`:                             `"message"`,
		`?term=x&filters={"stars":["many"]}`:             `invalid filter 'stars=many'`,
		`?term=x&filters={"is-official":["x"]}`:          `"message"`,
		`?term=x&filters={"color":["red"]}`:              `"message"`,
		`?term=x&filters={"is-automated":{"true":true}}`: "[]\n",
	} {
		if _, text := call(t, socket, "GET", "/images/search"+query, nil); !strings.Contains(text, body) {
			t.Errorf("%s: %s", query, text)
		}
	}
}

func TestDistributionInspect(t *testing.T) {
	var auth apiregistry.AuthConfig
	b := &backend{remote: func(ref string, a apiregistry.AuthConfig) (*apiregistry.DistributionInspect, error) {
		if auth = a; ref != "example.com/a/b:c" {
			return nil, fault.New(fault.NotFound, "no %s", ref)
		}
		return &apiregistry.DistributionInspect{Platforms: []ocispec.Platform{{OS: "linux", Architecture: "arm64"}}}, nil
	}}
	socket, _ := serve(t, b)
	text := `{"username":"mé>?","password":"p"}`
	for _, header := range []string{
		base64.URLEncoding.EncodeToString([]byte(text)), base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	} {
		r, err := docker(t, socket).DistributionInspect(t.Context(), "example.com/a/b:c", client.DistributionInspectOptions{EncodedRegistryAuth: header})
		if err != nil || len(r.Platforms) != 1 || auth.Username != "mé>?" {
			t.Errorf("%s: %+v, %v; as %+v", header, r, err, auth)
		}
	}
	for header, want := range map[string]int{"": 200, base64.URLEncoding.EncodeToString([]byte("{}")): 200, base64.URLEncoding.EncodeToString([]byte("null")): 200, "!": 400, "e30x": 400} {
		if resp, text := call(t, socket, "GET", "/distribution/example.com/a/b:c/json", nil, "X-Registry-Auth", header); resp.StatusCode != want {
			t.Errorf("%q: %d %s", header, resp.StatusCode, text)
		}
	}
}

// TestARegistryOutOfReach is the engine's failure to its clients, as with dockerd: a client
// that is told 503 tries again.
func TestARegistryOutOfReach(t *testing.T) {
	away := fault.New(fault.Unavailable, "nobody answers")
	b := &backend{
		login:  func(apiregistry.AuthConfig) (string, error) { return "", away },
		search: func(SearchOptions) ([]apiregistry.SearchResult, error) { return nil, away },
		remote: func(string, apiregistry.AuthConfig) (*apiregistry.DistributionInspect, error) { return nil, away },
		transfer: func(string, reference.Named, ImageTransferOptions, Progress) error {
			return away
		},
	}
	socket, _ := serve(t, b)
	for _, request := range []string{"POST /auth", "GET /images/search?term=x", "GET /distribution/x/json", "POST /images/create?fromImage=x", "POST /images/x/push"} {
		method, path, _ := strings.Cut(request, " ")
		resp, body := call(t, socket, method, path, strings.NewReader("{}"), "Content-Type", "application/json")
		if resp.StatusCode != 500 || body != `{"message":"nobody answers"}`+"\n" {
			t.Errorf("%s: %d %s", request, resp.StatusCode, body)
		}
	}
}
