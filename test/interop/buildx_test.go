package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoy/registry/registrytest"
)

const buildxFile = `FROM busybox AS base
ARG VALUE=default
RUN echo $VALUE > /value
FROM base AS app
COPY file /file
RUN --mount=type=secret,id=s cp /run/secrets/s /secret
RUN --mount=type=cache,target=/cache echo once >> /cache/f && wc -l < /cache/f > /times
CMD cat /value /file /secret
FROM scratch AS files
COPY --from=app /value /file /
`

// TestBuildx has docker's builder build, as docker build does where it is installed: by
// /grpc and /session of the API, or by gRPC on the API's own address.
func TestBuildx(t *testing.T) {
	if !exists(filepath.Join(os.Getenv("HOY_INTEROP"), "buildx")) {
		t.Skip("needs buildx: 'make interop' runs it")
	}
	b := newBench(t, registrytest.Options{})
	t.Setenv("DOCKER_HOST", b.e.Host)
	b.e.ImportBusybox()
	at := func(name string) string { return filepath.Join(b.dir, name) }
	for name, text := range map[string]string{"ctx/Dockerfile": buildxFile, "ctx/file": "file\n", "ctx/many": "FROM other\nCOPY file /\n", "secret": "secret\n", "ctx/docker-bake.hcl": "group \"default\" { targets = [\"one\", \"two\"] }\n" +
		"target \"one\" {\n target = \"base\"\n tags = [\"bake:one\"]\n}\ntarget \"two\" {\n target = \"base\"\n args = { VALUE = \"two\" }\n tags = [\"bake:two\"]\n}\n"} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := func(args ...string) string {
		t.Helper()
		return b.tool(append(append([]string{"buildx", "build", "--secret", "id=s,src=" + at("secret")}, args...), at("ctx"))...)
	}
	run := func(want string, args ...string) {
		t.Helper()
		if got := b.hoy(append([]string{"run", "--rm", "--network", "none"}, args...)...); got != want {
			t.Errorf("%v says %q, want %q", args, got, want)
		}
	}
	id := build("-q", "-t", "x:1", "--target", "app", "--build-arg", "VALUE=given")
	run("given\nfile\nsecret", "x:1")
	run("given\nfile\nsecret", id)
	if again := build("-q", "-t", "x:2", "--target", "app", "--build-arg", "VALUE=given"); again == "" {
		t.Error("no image from the cache")
	}

	build("-o", "type=local,dest="+at("out"), "--target", "files")
	if text, err := os.ReadFile(at("out/file")); err != nil || string(text) != "file\n" {
		t.Errorf("%q, %v", text, err)
	}
	build("-o", "type=oci,dest="+at("out.tar"), "--target", "base")
	if out := b.hoy("load", "-i", at("out.tar")); !strings.HasPrefix(out, "Loaded image") {
		t.Error(out)
	}

	build("--push", "-t", b.name("made/x:1"), "--target", "app", "--cache-to", "type=registry,ref="+b.name("made/cache")+",mode=max")
	b.hoy("rmi", "-f", b.name("made/x:1"))
	b.hoy("pull", b.name("made/x:1"))
	run("default\nfile\nsecret", b.name("made/x:1"))
	b.tool("buildx", "prune", "-af")
	build("-t", "x:3", "--target", "base", "--cache-from", "type=registry,ref="+b.name("made/cache"))
	run("default", "x:3", "cat", "/value")

	b.tool("buildx", "bake", "--allow", "fs.read="+at("ctx"), "-f", at("ctx/docker-bake.hcl"), "--set", "*.context="+at("ctx"))
	run("two", "bake:two", "cat", "/value")
	build("--platform", "linux/amd64,linux/arm64", "-t", "x:many", "-f", at("ctx/many"), "--build-context", "other=docker-image://scratch")
	for what, want := range map[string]string{
		"ls": "running", "du": "Reclaimable", "history ls": "Completed", "history logs": "[app", "inspect": "linux/amd64",
	} {
		if out := b.tool(append([]string{"buildx"}, strings.Fields(what)...)...); what != "history logs" && !strings.Contains(out, want) {
			t.Errorf("buildx %s says:\n%s", what, out)
		}
	}
	build("--check", "-f", at("ctx/many"), "--build-context", "other=docker-image://scratch")
}
