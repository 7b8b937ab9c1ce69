package cli

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/registry"
)

// defaultIndex is what the fake has for the default registry.
const defaultIndex = "https://index.example.org/v1/"

// registryEngine is a fake that pulls and pushes what it is asked for; auths has the
// credentials it was sent.
func registryEngine(t *testing.T, answer string) (f *fake, auths *[]registry.AuthConfig) {
	f, auths = newFake(t), new([]registry.AuthConfig)
	f.json("GET /info", 200, map[string]any{"IndexServerAddress": defaultIndex})
	serve := func(w http.ResponseWriter, r *http.Request) {
		var a registry.AuthConfig
		b, err := base64.URLEncoding.DecodeString(r.Header.Get("X-Registry-Auth"))
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err != nil {
			t.Errorf("X-Registry-Auth %q: %v", r.Header.Get("X-Registry-Auth"), err)
		}
		*auths = append(*auths, a)
		io.WriteString(w, answer)
	}
	f.mux.HandleFunc("POST /images/create", serve)
	f.mux.HandleFunc("POST /images/{name...}", serve)
	return f, auths
}

// config makes a folder with a config.json the one of this test.
func config(t *testing.T, text string) (dir string) {
	dir = t.TempDir()
	t.Setenv("HOY_CONFIG", dir)
	if text != "" {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const pulling = `{"status":"Pulling from library/x","id":"latest"}
{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}
{"status":"Downloading","progressDetail":{"current":10,"total":20},"id":"0123456789ab"}
{"status":"Download complete","progressDetail":{"hidecounts":true},"id":"0123456789ab"}
{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}
{"status":"Status: Downloaded newer image for x:latest"}
`

const pulled = `latest: Pulling from library/x
0123456789ab: Pulling fs layer
0123456789ab: Download complete
0123456789ab: Pull complete
Status: Downloaded newer image for x:latest
`

func TestPull(t *testing.T) {
	config(t, "")
	d := "sha256:" + strings.Repeat("a", 64)
	for _, c := range []struct{ line, ask, out string }{
		{"pull x", "create?fromImage=x&tag=latest", "Using default tag: latest\n" + pulled + "example.org/library/x:latest\n"},
		{"image pull me/x:1", "create?fromImage=me%2Fx&tag=1", pulled + "example.org/me/x:1\n"},
		{"pull -q x", "create?fromImage=x&tag=latest", "example.org/library/x:latest\n"},
		{"pull -a x", "create?fromImage=x", pulled + "example.org/library/x\n"},
		{"pull --platform linux/arm64 example.com:5000/x:1", "create?fromImage=example.com%3A5000%2Fx&platform=linux%2Farm64&tag=1", pulled + "example.com:5000/x:1\n"},
		{"pull -q localhost/x@" + d, "create?fromImage=localhost%2Fx&tag=" + strings.Replace(d, ":", "%3A", 1), "localhost/x@" + d + "\n"},
		{"push -q x:1", "x/push?tag=1", "example.org/library/x:1\n"},
		{"push -a example.org/x", "example.org/x/push", pulled},
		{"push -q --platform linux/arm64 example.com/x", "example.com/x/push?platform=%7B%22architecture%22%3A%22arm64%22%2C%22os%22%3A%22linux%22%7D&tag=latest", "example.com/x:latest\n"},
	} {
		f, auths := registryEngine(t, pulling)
		code, out, errs := f.hoy("", strings.Fields(c.line)...)
		if code != 0 || out != c.out || !strings.HasSuffix(f.asked()[1], "/images/"+c.ask) || (*auths)[0].Username != "" {
			t.Errorf("hoy %s: code %d, stderr %q, asked %q, stdout\n%s", c.line, code, errs, f.asked(), out)
		}
	}
}

func TestPullFailures(t *testing.T) {
	config(t, "")
	f, _ := registryEngine(t, pulling+`{"errorDetail":{"message":"the wire broke"}}`)
	for _, c := range []struct{ line, want string }{
		{"pull -q x", "Error response from daemon: the wire broke\n"},
		{"push -q x", "Error response from daemon: the wire broke\n"},
		{"pull -a x:1", "hoy: tag can't be used with --all-tags/-a\n"},
		{"push --platform arm64 x", "NOTE: only the manifest for arm64 is pushed: leave out --platform for the whole index, with its other platforms and attestations\nhoy: invalid platform \"arm64\": want os/architecture[/variant]\n"},
	} {
		if code, _, errs := f.hoy("", strings.Fields(c.line)...); code != 1 || errs != c.want {
			t.Errorf("hoy %s: code %d, stderr %q", c.line, code, errs)
		}
	}
}

// TestPushNotes tells what a push left out.
func TestPushNotes(t *testing.T) {
	config(t, "")
	f, _ := registryEngine(t, `{"progressDetail":{},"aux":{"manifestPushedInsteadOfIndex":true,"originalIndex":{"digest":"sha256:1"},"selectedManifest":{"digest":"sha256:2"}}}
{"aux":{"Tag":"1","Digest":"sha256:2","Size":3}}`)
	code, out, errs := f.hoy("", "push", "example.com/x:1")
	if code != 0 || out != "" || errs != "NOTE: not all platforms of the image are here: the one that is was pushed, sha256:2 in place of the index sha256:1\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

// TestPullCredentials sends those that are kept for the registry, and goes on without
// those that cannot be read.
func TestPullCredentials(t *testing.T) {
	config(t, `{"auths":{"`+defaultIndex+`":{"auth":"`+base64.StdEncoding.EncodeToString([]byte("me:a:b"))+`"},"example.com:5000":{"identitytoken":"t"}},"credHelpers":{"example.net":"nope-nope"}}`)
	f, auths := registryEngine(t, pulling)
	for line, want := range map[string]registry.AuthConfig{
		"pull -q x": {Username: "me", Password: "a:b", ServerAddress: defaultIndex}, "pull -q example.org/me/x": {Username: "me", Password: "a:b", ServerAddress: defaultIndex},
		"push -q index.example.org/me/x": {Username: "me", Password: "a:b", ServerAddress: defaultIndex}, "push -q example.com:5000/x": {IdentityToken: "t", ServerAddress: "example.com:5000"},
		"pull -q localhost:5000/x": {ServerAddress: "localhost:5000"},
	} {
		*auths = nil
		code, _, errs := f.hoy("", strings.Fields(line)...)
		if code != 0 || errs != "" || len(*auths) != 1 || (*auths)[0] != want {
			t.Errorf("hoy %s: code %d, stderr %q, sent %+v", line, code, errs, *auths)
		}
	}
	*auths = nil
	code, _, errs := f.hoy("", "pull", "-q", "example.net/x")
	if code != 0 || !strings.HasPrefix(errs, "WARNING: cannot get credentials by docker-credential-nope-nope: ") || len(*auths) != 1 {
		t.Errorf("code %d, stderr %q, sent %+v", code, errs, *auths)
	}
}

// TestRunPulls brings in an image that is not here, and tells of it on standard error.
func TestRunPulls(t *testing.T) {
	config(t, "")
	id := strings.Repeat("a", 64)
	const created = "/containers/create"
	const pull = "/images/create?fromImage=x&tag=latest"
	for _, c := range []struct {
		line string
		here bool
		code int
		asks []string
		errs string
	}{
		{"create x", false, 0, []string{created, pull, created}, "Unable to find image 'x:latest' locally\n" + pulled},
		{"create -q x", false, 0, []string{created, pull, created}, ""},
		{"create --platform linux/arm64 x", false, 0, []string{created + "?platform=linux%2Farm64", "/images/create?fromImage=x&platform=linux%2Farm64&tag=latest", created + "?platform=linux%2Farm64"}, "Unable to find image 'x:latest' locally\n" + pulled},
		{"create x", true, 0, []string{created}, ""},
		{"create --pull always x", true, 0, []string{pull, created}, pulled},
		{"create --pull never x", false, 1, []string{created}, "Error response from daemon: No such image: x\n"},
		{"create " + id, false, 1, []string{created}, "Error response from daemon: No such image: " + id + "\n"},
		{"create --mount type=image,source=gone,target=/i x", false, 1, []string{created}, "Error response from daemon: No such image: gone\n"},
	} {
		f, _ := registryEngine(t, pulling)
		here := c.here
		f.mux.HandleFunc("POST /containers/create", func(w http.ResponseWriter, r *http.Request) {
			var req struct {
				Image      string
				HostConfig struct{ Mounts []struct{ Source string } }
			}
			json.NewDecoder(r.Body).Decode(&req)
			for _, m := range req.HostConfig.Mounts {
				req.Image = m.Source
			}
			if !here {
				here = true
				w.WriteHeader(404)
				json.NewEncoder(w).Encode(map[string]string{"message": "No such image: " + req.Image})
				return
			}
			w.WriteHeader(201)
			io.WriteString(w, `{"Id":"c0ffee"}`)
		})
		code, out, errs := f.hoy("", strings.Fields(c.line)...)
		var asks []string
		for _, a := range f.asked() {
			if _, path, ok := strings.Cut(strings.TrimPrefix(a, "POST "), "/"); ok && strings.HasPrefix(a, "POST") {
				_, path, _ = strings.Cut(path, "/")
				asks = append(asks, "/"+path)
			}
		}
		if code != c.code || errs != c.errs || !slices.Equal(asks, c.asks) || out != map[int]string{0: "c0ffee\n"}[code] {
			t.Errorf("hoy %s: code %d, asked %q, stdout %q, stderr\n%s", c.line, code, asks, out, errs)
		}
	}
}
