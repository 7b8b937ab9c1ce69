package cli

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
)

// TestConfiguredFormats lists by config.json's formats, unless the command line has one.
func TestConfiguredFormats(t *testing.T) {
	config(t, `{"psFormat":"ps {{.Names}}","imagesFormat":"image {{.Repository}}","networksFormat":"network {{.Name}}","volumesFormat":"volume {{.Name}}"}`)
	f := newFake(t)
	f.json("GET /containers/json", 200, []container.Summary{{ID: strings.Repeat("c", 64), Names: []string{"/web"}}})
	f.json("GET /images/json", 200, []image.Summary{{ID: "sha256:" + strings.Repeat("1", 64), RepoTags: []string{"debian:12"}}})
	f.json("GET /networks", 200, []network.Summary{{Network: network.Network{ID: strings.Repeat("9", 64), Name: "lan"}}})
	f.json("GET /volumes", 200, volume.ListResponse{Volumes: []volume.Volume{{Name: "data"}}})
	for line, want := range map[string]string{
		"ps": "ps web\n", "images": "image debian\n", "network ls": "network lan\n", "volume ls": "volume data\n",
		"ps -q": "cccccccccccc\n", "images -q": "111111111111\n", "network ls -q": "999999999999\n", "volume ls -q": "data\n",
		"ps --format {{.ID}}": "cccccccccccc\n", "volume ls --format a{{.Name}}": "adata\n",
	} {
		if code, out, errs := f.hoy("", strings.Fields(line)...); code != 0 || out != want {
			t.Errorf("hoy %s: code %d, stdout %q, stderr %q; want %q", line, code, out, errs, want)
		}
	}
}

// TestProxies tells a container of config.json's proxies, but of none that it was told of.
func TestProxies(t *testing.T) {
	config(t, `{"proxies":{"default":{"httpProxy":"http://p:1","noProxy":"localhost"},"tcp://other:1":{"httpProxy":"http://q:1"}}}`)
	f := newFake(t)
	var env []string
	f.mux.HandleFunc("POST /containers/create", func(w http.ResponseWriter, r *http.Request) {
		var c struct{ Env []string }
		json.NewDecoder(r.Body).Decode(&c)
		env = c.Env
		w.WriteHeader(201)
		w.Write([]byte(`{"Id":"c0ffee"}`))
	})
	want := []string{"http_proxy=mine", "HTTP_PROXY=http://p:1", "NO_PROXY=localhost", "no_proxy=localhost"}
	if code, _, errs := f.hoy("", "create", "-e", "http_proxy=mine", "x"); code != 0 || !slices.Equal(env, want) {
		t.Errorf("code %d, stderr %q, environment %q; want %q", code, errs, env, want)
	}
}

// TestConfiguredKeys attaches with config.json's keys, unless the command line has some.
func TestConfiguredKeys(t *testing.T) {
	config(t, `{"detachKeys":"ctrl-x"}`)
	f := newFake(t)
	var keys []string
	f.mux.HandleFunc("POST /containers/c0ffee/attach", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.URL.Query().Get("detachKeys"))
		w.WriteHeader(500)
	})
	f.json("POST /containers/c0ffee/wait", 500, nil)
	f.json("POST /containers/create", 201, map[string]string{"Id": "c0ffee"})
	f.hoy("", "run", "x")
	f.hoy("", "run", "--detach-keys", "ctrl-y", "x")
	if !slices.Equal(keys, []string{"ctrl-x", "ctrl-y"}) {
		t.Errorf("asked for %q", keys)
	}
}

// TestPruneFilters removes by config.json's filters as well, unless they contradict.
func TestPruneFilters(t *testing.T) {
	config(t, `{"pruneFilters":["label!=keep","label=old","nonsense"]}`)
	a := &app{}
	got := a.pruneFilters(map[string][]string{"label!": {"old"}})
	if len(got) != 1 || !slices.Equal(got["label!"], []string{"old", "keep"}) {
		t.Errorf("%v", got)
	}
}

// TestDefaultPlatform creates for the platform that the environment says.
func TestDefaultPlatform(t *testing.T) {
	t.Setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
	f := newFake(t)
	f.json("POST /containers/create", 201, map[string]string{"Id": "c0ffee"})
	f.hoy("", "create", "x")
	f.hoy("", "create", "--platform", "linux/amd64", "x")
	want := []string{"POST /v1.56/containers/create?platform=linux%2Farm64", "POST /v1.56/containers/create?platform=linux%2Famd64"}
	if !slices.Equal(f.asked(), want) {
		t.Errorf("asked %q", f.asked())
	}
}
