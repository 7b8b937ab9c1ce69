// Package interop shows that images go between hoy and other tools by archives, and by a registry with
// the same digests both ways: skopeo, buildah and podman of Debian, crane and oras, and
// the engine that docker's behaviour is read off.
// And that buildx builds with it.
package interop

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoy/registry/registrytest"
	"hoy/test/built"
	"hoy/test/dockerd"
	"hoy/test/engine"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

const user, password = "somebody", "only for tests"

// kinds are the registries: in the clear, and by TLS with a token server.
var kinds = map[string]registrytest.Options{
	"plain":         {},
	"TLS and token": {TLS: true, Wrap: tokens},
}

// tokens lets in who has a token, which the server itself gives for the password.
func tokens(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch u, p, _ := r.BasicAuth(); {
		case r.URL.Path == "/token" && r.Method == http.MethodPost: // by OAuth, which we have not: the client asks by GET then
			http.NotFound(w, r)
		case r.URL.Path == "/token" && u == user && p == password:
			fmt.Fprint(w, `{"token":"secret"}`)
		case r.URL.Path != "/token" && r.Header.Get("Authorization") == "Bearer secret":
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="test"`, r.Host))
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		}
	})
}

// bench is an engine, a registry, and where the tools keep what is theirs.
type bench struct {
	*testing.T
	e     *engine.Engine
	r     *registrytest.Registry
	dir   string
	tools string // programs that Debian does not have
}

func newBench(t *testing.T, o registrytest.Options) *bench {
	rootful.Check(t)
	dir, err := os.MkdirTemp("", "interop") // in small letters: buildah takes a path for a name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{T: t, r: registrytest.Start(t, o), dir: dir, tools: os.Getenv("HOY_INTEROP")}
	if err := os.WriteFile(dir+"/config.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.e = engine.Start(t)
	if o.Wrap != nil {
		b.login()
	}
	return b
}

// login makes one file that all the tools read their credentials from.
func (b *bench) login() {
	b.Helper()
	if r := b.e.TryIn(strings.NewReader(password), "--config", b.dir, "login", "-u", user, "--password-stdin", b.r.Host); r.Code != 0 {
		b.Fatal(r.Stderr)
	}
}

// hoy runs hoy with the credentials.
func (b *bench) hoy(args ...string) string {
	b.Helper()
	return b.e.Hoy(append([]string{"--config", b.dir}, args...)...)
}

// tool runs another program.
func (b *bench) tool(args ...string) string {
	b.Helper()
	c := exec.Command(args[0], args[1:]...)
	if own := filepath.Join(b.tools, args[0]); exists(own) {
		c = exec.Command(own, args[1:]...)
	}
	c.Env = append(os.Environ(), "DOCKER_CONFIG="+b.dir, "REGISTRY_AUTH_FILE="+b.dir+"/config.json", "HOME="+b.dir, "STORAGE_DRIVER=vfs", "SSL_CERT_FILE="+b.r.CA)
	if b.r.CA == "" {
		c.Env = c.Env[:len(c.Env)-1]
	}
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		b.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, said.String(), out.String())
	}
	return strings.TrimSpace(out.String())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// plain are a tool's flags for a registry without TLS.
func (b *bench) plain(flags ...string) []string {
	if b.r.CA != "" {
		return nil
	}
	return flags
}

func (b *bench) name(rest string) string { return b.r.Host + "/" + rest }

func each(t *testing.T, f func(b *bench)) {
	if os.Getenv("HOY_INTEROP") == "" {
		t.Skip("needs skopeo, buildah, podman, crane and oras: 'make interop' runs it")
	}
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) { f(newBench(t, o)) })
	}
}

// runs pulls an image, compares its digest and runs it.
func (b *bench) runs(name, digest string) {
	b.Helper()
	b.hoy("pull", "-q", name)
	if got := b.hoy("inspect", "-f", "{{.Id}}", name); got != digest {
		b.Errorf("%s is %s here, %s in the registry", name, got, digest)
	}
	if got := b.hoy("run", "--rm", "--network", "none", name, "cat", "/arch"); got != "amd64" {
		b.Errorf("%s says %q", name, got)
	}
	b.hoy("rmi", name)
}

// TestTheirs pulls and runs what other tools have pushed.
func TestTheirs(t *testing.T) {
	each(t, func(b *bench) {
		layout, digest := b.layout()
		b.tool(append([]string{"skopeo", "copy", "-q", "--insecure-policy", "--all", "--preserve-digests"}, append(b.plain("--dest-tls-verify=false"), "oci:"+layout+":1", "docker://"+b.name("theirs/skopeo:1"))...)...)
		b.tool(append([]string{"crane", "push", "--index", layout, b.name("theirs/crane:1")}, b.plain("--insecure")...)...)
		b.tool(append([]string{"oras", "cp", "--no-tty", "--from-oci-layout", layout + ":1", b.name("theirs/oras:1")}, b.plain("--to-plain-http")...)...)
		for _, by := range []string{"skopeo", "crane", "oras"} {
			want := digest
			if by == "crane" { // it pushes the layout's own index
				want = b.tool(append([]string{"crane", "digest", b.name("theirs/crane:1")}, b.plain("--insecure")...)...)
			}
			b.runs(b.name("theirs/"+by+":1"), want)
		}
		root := []string{"--root", b.dir + "/storage", "--runroot", b.dir + "/run"}
		buildah := func(args ...string) string {
			b.Helper()
			return b.tool(append(append([]string{"buildah"}, root...), args...)...)
		}
		made := buildah("from", "scratch")
		for name, content := range map[string][]byte{"root.tar": engine.Busybox(b.T), "arch.tar": b.file("arch", "amd64")} {
			if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
				b.Fatal(err)
			}
			buildah("add", "-q", made, filepath.Join(b.dir, name), "/")
		}
		for _, format := range []string{"oci", "docker"} {
			name := b.name("theirs/buildah:" + format)
			id := buildah("commit", "-q", "--format", format, made)
			buildah(append(append([]string{"push", "-q"}, b.plain("--tls-verify=false")...), id, "docker://"+name)...)
			b.runs(name, b.tool(append([]string{"crane", "digest", name}, b.plain("--insecure")...)...))
		}
	})
}

// TestOurs has other tools read what hoy has pushed: all of it, byte for byte.
func TestOurs(t *testing.T) {
	each(t, func(b *bench) {
		layout, digest := b.layout()
		b.tool("tar", "-C", layout, "-cf", b.dir+"/image.tar", ".")
		b.hoy("load", "-q", "-i", b.dir+"/image.tar")
		name := b.name("ours/app:1")
		b.hoy("tag", digest, name)
		b.hoy("push", "-q", name)
		if got := b.tool(append([]string{"crane", "digest", name}, b.plain("--insecure")...)...); got != digest {
			b.Errorf("pushed as %s, want %s", got, digest)
		}
		b.tool(append([]string{"crane", "validate", "--fast", "--remote", name}, b.plain("--insecure")...)...)
		out := b.dir + "/copy"
		b.tool(append([]string{"skopeo", "copy", "-q", "--insecure-policy", "--all", "--preserve-digests"}, append(b.plain("--src-tls-verify=false"), "docker://"+name, "oci:"+out+":1")...)...)
		b.sameBlobs(layout, out)
		b.tool(append([]string{"oras", "cp", "--no-tty", "--to-oci-layout", name, b.dir + "/oras:1"}, b.plain("--from-plain-http")...)...)
		b.sameBlobs(layout, b.dir+"/oras")
		id := b.tool(append([]string{"podman", "--root", b.dir + "/podman", "--runroot", b.dir + "/podmanrun", "pull", "-q"}, append(b.plain("--tls-verify=false"), name)...)...)
		if id == "" {
			b.Error("podman pulled nothing")
		}
		b.pulledByReference(name)
	})
}

// sameBlobs compares the blobs of two layouts.
func (b *bench) sameBlobs(theirs, ours string) {
	b.Helper()
	list := func(dir string) (names []string) {
		all, _ := filepath.Glob(dir + "/blobs/sha256/*")
		for _, p := range all {
			names = append(names, filepath.Base(p))
		}
		return names
	}
	if t, o := list(theirs), list(ours); len(t) == 0 || !slices.Equal(t, o) {
		b.Errorf("%s has %v, want %v", ours, o, t)
	}
}

// pulledByReference has the reference engine pull an image and run it.
func (b *bench) pulledByReference(name string) {
	b.Helper()
	b.withReference(func(docker func(args ...string) string) {
		docker("pull", "-q", name)
		if got := docker("run", "--rm", "--network", "none", name, "cat", "/arch"); got != "amd64" {
			b.Errorf("the reference engine's container says %q", got)
		}
		docker("rmi", "-f", name)
	})
}

// withReference starts the engine that docker's behaviour is read off, where there is
// one, and ends it after use, which has docker's command line for it.
func (b *bench) withReference(use func(docker func(args ...string) string)) {
	b.Helper()
	bin := os.Getenv("HOY_REFERENCE")
	if bin == "" {
		b.Log("no reference engine: 'make interop REFERENCE=DIR' tests it too")
		return
	}
	dir, err := os.MkdirTemp("", "ref")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	group := "/hoy-reference-" + filepath.Base(dir)
	d, err := dockerd.Start(bin, dir+"/d", "--cgroup-parent", group, "--insecure-registry", "127.0.0.0/8", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	if err != nil {
		b.Fatal(err)
	}
	defer d.Stop()
	use(func(args ...string) string {
		b.Helper()
		return b.tool(append([]string{built.Docker.Path(b), "-H", d.Host}, args...)...)
	})
}
