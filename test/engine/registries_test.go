package engine

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/registry/registrytest"
	"hoy/test/built"
	"hoy/test/rootful"
)

// guarded is a registry that wants to know who asks, and has an index.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch name, password, _ := q.BasicAuth(); {
		case q.URL.Path == "/v1/search":
			fmt.Fprint(w, `{"results": [{"name": "lib/box", "description": "found as `+name+`", "star_count": 3}]}`)
		case name != "me" || password != "secret":
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}`)
		default:
			q.Header.Del("Authorization")
			next.ServeHTTP(w, q)
		}
	})
}

// TestRegistryCredentials has the docker client log in, and push, pull and search as
// somebody and as nobody.
func TestRegistryCredentials(t *testing.T) {
	rootful.Check(t)
	client := built.Docker.Path(t)
	e := Start(t)
	e.ImportBusybox()
	r := registrytest.Start(t, registrytest.Options{Wrap: guarded})
	somebody, nobody := t.TempDir(), t.TempDir()
	docker := func(config, stdin string, args ...string) (string, bool) {
		c := exec.Command(client, args...)
		c.Env = append(os.Environ(), "DOCKER_HOST="+e.Host, "DOCKER_CONFIG="+config)
		c.Stdin = strings.NewReader(stdin)
		b, err := c.CombinedOutput()
		return string(b), err == nil
	}
	box := r.Host + "/lib/box"
	e.Hoy("tag", "busybox", box+":1")
	for _, tc := range []struct {
		config, stdin, args string
		ok                  bool
		says                string
	}{
		{somebody, "wrong", "login -u me --password-stdin " + r.Host, false, r.Host + " refuses the login: registry " + r.Host + " answers 401 Unauthorized: who are you?"},
		{somebody, "secret", "login -u me --password-stdin " + r.Host, true, "Login Succeeded"},
		{nobody, "", "push " + box + ":1", false, "push access denied for " + box},
		{somebody, "", "push " + box + ":1", true, "1: digest: sha256:"},
		{nobody, "", "pull " + box + ":1", false, "pull access denied for " + box + `: the repository does not exist or asks for other credentials, which "hoy login ` + r.Host + `" stores: registry ` + r.Host + " answers 401 Unauthorized: who are you?"},
		{somebody, "", "pull " + box + ":1", true, "Status: "},
		{somebody, "", "pull " + box + ":2", false, box + ":2 not found"},
		{somebody, "", "search " + r.Host + "/box", true, "found as me"},
		{nobody, "", "search --filter stars=4 " + r.Host + "/box", true, "NAME"},
	} {
		said, ok := docker(tc.config, tc.stdin, strings.Fields(tc.args)...)
		if ok != tc.ok || !strings.Contains(said, tc.says) {
			t.Errorf("docker %s: %v\n%s", tc.args, ok, said)
		}
	}
}

// TestRegistryReload: an engine that is told to asks another mirror from then on.
func TestRegistryReload(t *testing.T) {
	rootful.Check(t)
	config := filepath.Join(t.TempDir(), "daemon.json")
	write(t, config, "{}")
	e := Start(t, "--config-file", config)
	e.ImportBusybox()
	mirror := registrytest.Start(t, registrytest.Options{})
	e.Hoy("tag", "busybox", mirror.Host+"/lib/box:1")
	if status, said := e.transfer("/images/" + mirror.Host + "/lib/box/push?tag=1"); status != http.StatusOK || strings.Contains(said, `"error"`) {
		t.Fatalf("push: %d %s", status, said)
	}
	e.Hoy("rmi", "busybox", mirror.Host+"/lib/box:1")

	write(t, config, `{"registry-mirrors": ["ftp://`+mirror.Host+`"]}`)
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the refusal", func() bool { return strings.Contains(e.Log(), "invalid mirror") })
	write(t, config, `{"registry-mirrors": ["`+mirror.URL+`"]}`)
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the reload", func() bool { return len(e.reloads()) == 1 })
	if status, said := e.pull("lib/box", "1"); status != http.StatusOK || !strings.Contains(said, "Status: Downloaded newer image for lib/box:1") {
		t.Errorf("pull by the mirror: %d %s", status, said)
	}
	if got := e.Hoy("run", "--rm", "--network", "none", "lib/box:1", "echo", "here"); got != "here" {
		t.Error(got)
	}
}
