package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
)

// TestComplete: what a shell is offered at each place of a command line.
func TestComplete(t *testing.T) {
	t.Setenv("OURS_ALONE", "1")
	f := newFake(t)
	f.mux.HandleFunc("GET /containers/json", func(w http.ResponseWriter, r *http.Request) {
		list := []container.Summary{{Names: []string{"/web"}}, {Names: []string{"/db"}}}
		if strings.Contains(r.URL.Query().Get("filters"), "exited") {
			list = []container.Summary{{Names: []string{"/old"}}}
		} else if strings.Contains(r.URL.Query().Get("filters"), "created") {
			list = nil
		}
		json.NewEncoder(w).Encode(list)
	})
	f.json("GET /images/json", http.StatusOK, []image.Summary{{RepoTags: []string{"nginx:latest", "redis:7"}}, {RepoTags: []string{"<none>:<none>"}}})
	f.json("GET /volumes", http.StatusOK, volume.ListResponse{Volumes: []volume.Volume{{Name: "data"}}})
	f.json("GET /networks", http.StatusOK, []network.Summary{{Network: network.Network{Name: "bridge"}}, {Network: network.Network{Name: "back"}}})

	for line, want := range map[string]string{
		"stop |":                                "db web",
		"stop w|":                               "web",
		"stop web |":                            "db", // each once
		"start |":                               "old",
		"container rm |":                        "db web",
		"exec |":                                "db web",
		"run |":                                 "nginx nginx:latest redis:7",
		"run --rm -it n|":                       "nginx nginx:latest",
		"rmi redis:7 |":                         "nginx nginx:latest",
		"image inspect r|":                      "redis:7",
		"volume rm |":                           "data",
		"volume clone |":                        "data",
		"volume rename data |":                  "",
		"network inspect b|":                    "back bridge",
		"run --network |":                       "back bridge",
		"run --network=ba|":                     "back",
		"run --link w|":                         "web:",
		"run -e OURS_|":                         "OURS_ALONE",
		"inspect --type |":                      "container image network volume",
		"run --restart |":                       "always no on-failure unless-stopped",
		"inspect |":                             "back bridge data db nginx nginx:latest redis:7 web",
		"container st|":                         "start stats stop",
		"stop --sig|":                           "--signal",
		"version |":                             "",
		"--log-level debug volume rm |":         "data",
		"-H unix://nowhere/x stop |":            "", // no engine, no names, no error
		"--conte|":                              "--context",
		"--context |":                           "default far",
		"-H unix:///x --log-level=info --tlsv|": "--tlsverify",
	} {
		words := strings.Split(strings.TrimSuffix(line, "|"), " ")
		if got := strings.Join(complete(t, f, words), " "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func complete(t *testing.T, f *fake, words []string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "contexts/meta/1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "contexts/meta/1/meta.json"), []byte(`{"Name":"far"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOY_HOST", "unix://"+f.socket)
	var out, errs bytes.Buffer
	if code := Main(append([]string{"__completeNoDesc"}, words...), Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); code != 0 {
		t.Fatalf("%q: exit code %d: %s", words, code, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, ":") {
		t.Errorf("%q: no directive: %q", words, last)
	}
	lines = lines[:len(lines)-1]
	slices.Sort(lines)
	return lines
}

// TestCompletionScripts: each shell gets one that asks hoy.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var out, errs bytes.Buffer
		if code := Main([]string{"completion", shell}, Streams{Out: &out, Err: &errs}); code != 0 || !strings.Contains(out.String(), "__complete") {
			t.Errorf("%s: %d %s", shell, code, errs.String())
		}
	}
}
