package server

import (
	"encoding/base64"
	"strings"
	"testing"

	apiregistry "github.com/moby/moby/api/types/registry"
)

func TestManifests(t *testing.T) {
	socket, _ := serve(t, &backend{})
	auth := base64.URLEncoding.EncodeToString([]byte(`{"username":"me"}`))
	raw := base64.StdEncoding.EncodeToString([]byte("me true"))
	resp, text := call(t, socket, "GET", "/hoy/manifests/example.com/a/b:1?insecure=1", nil, apiregistry.AuthHeader, auth)
	if want := `{"Descriptor":{"mediaType":"example.com/a/b:1","digest":"","size":0},"Raw":"` + raw + `"}`; resp.StatusCode != 200 || strings.TrimSpace(text) != want {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	resp, text = call(t, socket, "PUT", "/hoy/manifests/b:1?from=c", strings.NewReader(`{"Descriptor":{"mediaType":"m"},"Raw":"`+raw+`"}`), "Content-Type", "application/json")
	if resp.StatusCode != 200 || !strings.Contains(text, `"mediaType":"m"`) || !strings.Contains(text, `["b:1","c","me true"]`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	for _, method := range []string{"GET", "PUT"} {
		if resp, text := call(t, socket, method, "/hoy/manifests/b:1", strings.NewReader("["), apiregistry.AuthHeader, "?"); resp.StatusCode != 400 {
			t.Errorf("%s: %d %s", method, resp.StatusCode, text)
		}
	}
}
