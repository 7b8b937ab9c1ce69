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
	"sync"
	"sync/atomic"
	"testing"

	"hoy/registry/registrytest"
	"hoy/test/built"
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
	client := built.Docker.Path(t)
	e := Start(t)
	e.ImportBusybox()
	r := registrytest.Start(t, registrytest.Options{})
	docker := func(args ...string) string {
		t.Helper()
		c := exec.Command(client, args...)
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
	e.Hoy("tag", box+":1", box+":2")
	if said := docker("push", "-a", "-q", box); strings.TrimSpace(said) != box {
		t.Errorf("push of all tags: %q", said)
	}
	e.Hoy("rmi", box+":1", box+":2")
	if said := docker("pull", "-a", "-q", box); strings.TrimSpace(said) != box {
		t.Errorf("pull of all tags: %q", said)
	}
	if got := e.Hoy("images", "--format", "{{.Tag}}", box); got != "2\n1" && got != "1\n2" {
		t.Errorf("all tags are %q", got)
	}
	e.Hoy("rmi", box+":1", box+":2")
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

// gated serves blobs until so many bytes have gone out; then it waits for open.
type gated struct {
	http.ResponseWriter
	served, limit *atomic.Int64
	full, open    chan struct{}
}

func (g gated) Write(b []byte) (int, error) {
	if g.served.Add(int64(len(b))) > g.limit.Load() {
		select {
		case g.full <- struct{}{}:
		default:
		}
		<-g.open
	}
	return g.ResponseWriter.Write(b)
}

// TestKilledWhilePulling kills the engine again and again in the middle of a pull. The
// next one goes on where the last one stopped, and at the end nothing of them is left.
func TestKilledWhilePulling(t *testing.T) {
	rootful.Check(t)
	const size, kills = 24 << 20, 6
	var served, limit atomic.Int64
	full := make(chan struct{}, 1)
	var gone atomic.Pointer[chan struct{}]
	shut := func() { c := make(chan struct{}); gone.Store(&c) }
	shut()
	r := registrytest.Start(t, registrytest.Options{Dir: t.TempDir(), Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") && limit.Load() > 0 {
				w = gated{w, &served, &limit, full, *gone.Load()}
			}
			h.ServeHTTP(w, q)
		})
	}})
	e := Start(t)
	name := e.inRegistry(r, size)
	before := len(e.imageFiles())
	for i := range kills {
		limit.Store(int64(i+1) * size / (kills + 1))
		var over sync.WaitGroup
		over.Go(func() { e.pull(name, "1") })
		<-full
		e.Kill()
		close(*gone.Load())
		over.Wait()
		r.CloseClientConnections()
		select {
		case <-full:
		default:
		}
		shut()
		e.Up()
		if got := e.Try("inspect", name+":1"); got.Code == 0 {
			t.Errorf("%d: the image is there after a part of it", i)
		}
	}
	limit.Store(1 << 40)
	status, said := e.pull(name, "1")
	if status != http.StatusOK || !strings.Contains(said, "Status: Downloaded newer image for "+name+":1") {
		t.Errorf("the last pull: %d %s", status, said)
	}
	// What was on its way when the engine died is sent twice; all that came, more often.
	n := served.Load()
	t.Logf("%d bytes went out for %d", n, size)
	if n > 5*size/2 {
		t.Errorf("%d bytes went out for %d", n, size)
	}
	e.nothingLeft()
	e.Hoy("rmi", name+":1")
	e.Eventually("the image's files go", func() bool { return len(e.imageFiles()) == before })
}
