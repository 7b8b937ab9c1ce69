package engine

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hoy/registry/registrytest"
	"hoy/test/rootful"
)

// transfer is a pull or a push by the API: everything that the engine says.
func (e *Engine) transfer(path string) (int, string) {
	r, err := e.HTTP().Post("http://hoy"+path, "", nil)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(b)
}

func (e *Engine) pull(name, tag string) (int, string) {
	return e.transfer("/images/create?fromImage=" + name + "&tag=" + tag)
}

// inRegistry makes an image with a file of n random bytes that is in the registry only.
func (e *Engine) inRegistry(r *registrytest.Registry, n int) (name string) {
	e.t.Helper()
	name = r.Host + "/lib/noise"
	before := len(e.imageFiles())
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	if r := e.TryIn(bytes.NewReader(tarball(e.t, reg("noise", string(b)))), "import", "-", name+":1"); r.Code != 0 {
		e.t.Fatal(r.Stderr)
	}
	if status, said := e.transfer("/images/" + name + "/push?tag=1"); status != http.StatusOK || !strings.Contains(said, "1: digest: sha256:") {
		e.t.Fatalf("push: %d %s", status, said)
	}
	e.Hoy("rmi", name+":1")
	e.Eventually("the image's files go", func() bool { return len(e.imageFiles()) == before })
	return name
}

// TestDockerPull has the docker client push and pull, and run what it does not have.
func TestDockerPull(t *testing.T) {
	rootful.Check(t)
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker client on this machine: the API is tested by TestEveryFailpoint")
	}
	e := Start(t)
	e.ImportBusybox()
	r := registrytest.Start(t, registrytest.Options{})
	docker := func(args ...string) string {
		t.Helper()
		c := exec.Command("docker", args...)
		c.Env = append(os.Environ(), "DOCKER_HOST="+e.Host, "DOCKER_CONFIG="+t.TempDir())
		b, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("docker %s: %v", strings.Join(args, " "), err)
		}
		return string(b)
	}
	box := r.Host + "/lib/box"
	e.Hoy("tag", "busybox", box+":1")
	said := docker("push", box+":1")
	if !strings.Contains(said, "The push refers to repository ["+box+"]") || !strings.Contains(said, ": Pushed") || !strings.Contains(said, "\n1: digest: sha256:") {
		t.Errorf("push: %s", said)
	}
	if said := docker("push", box+":1"); !strings.Contains(said, "Layer already exists") {
		t.Errorf("the second push: %s", said)
	}
	e.Hoy("rmi", "busybox", box+":1")
	e.Eventually("the image's files go", func() bool { return len(e.imageFiles()) == 0 })
	said = docker("pull", box+":1")
	for _, want := range []string{"1: Pulling from lib/box\n", ": Pulling fs layer\n", ": Download complete\n", ": Pull complete\n", "Digest: sha256:", "Status: Downloaded newer image for " + box + ":1\n" + box + ":1\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("pull does not say %q: %s", want, said)
		}
	}
	if said := docker("pull", box+":1"); !strings.Contains(said, "Status: Image is up to date for "+box+":1\n") {
		t.Errorf("the second pull: %s", said)
	}
	e.Hoy("rmi", box+":1")
	if said := docker("run", "--rm", "--network", "none", box+":1", "echo", "here"); !strings.Contains(said, "Unable to find image") || !strings.HasSuffix(said, "here\n") {
		t.Errorf("run: %s", said)
	}
	status, body := e.pull(r.Host+"/lib/none", "1")
	if status != http.StatusNotFound || strings.Count(body, "\n") > 1 {
		t.Errorf("an image that is not there: %d %s", status, body)
	}
	events := e.Hoy("events", "--since", "1h", "--until", "0s", "--filter", "type=image", "--format", "{{.Action}} {{.Actor.ID}}")
	for _, want := range []string{"push " + box + ":1", "pull " + box + ":1"} {
		if !strings.Contains(events, want) {
			t.Errorf("no event %q in %s", want, fmt.Sprintf("%q", events))
		}
	}
}
