package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/registry/registrytest"
)

// archives runs f with an engine, a registry in the clear, and an OCI layout in the
// folder that it is given.
func archives(t *testing.T, f func(b *bench, layout string)) {
	if os.Getenv("HOY_INTEROP") == "" {
		t.Skip("needs skopeo, buildah, podman and crane: 'make interop' runs it")
	}
	b := newBench(t, registrytest.Options{})
	// Debian's skopeo cannot turn zstd into what docker's format has.
	layout, _ := b.layoutWith(ocispec.MediaTypeImageLayerGzip, gzipped)
	f(b, layout)
}

// own is a tool that has its storage in the test's folder.
func (b *bench) own(tool string, args ...string) string {
	b.Helper()
	root := filepath.Join(b.dir, "storage")
	return b.tool(append([]string{tool, "--root", root, "--runroot", root + "-run"}, args...)...)
}

// loads loads an archive, runs its image and removes it.
func (b *bench) loads(archive string) {
	b.Helper()
	out := b.hoy("load", "-i", archive)
	_, ref, ok := strings.Cut(out, ": ")
	if ref, _, _ = strings.Cut(ref, "\n"); !ok || !strings.HasPrefix(out, "Loaded image") {
		b.Errorf("%s: load says %q", archive, out)
		return
	}
	if got := b.hoy("run", "--rm", "--network", "none", ref, "cat", "/arch"); got != "amd64" {
		b.Errorf("%s: the container says %q", archive, got)
	}
	b.hoy("rmi", "-f", ref)
}

// TestTheirArchives loads and runs what other tools save.
func TestTheirArchives(t *testing.T) {
	archives(t, func(b *bench, layout string) {
		at := func(name string) string { return filepath.Join(b.dir, name) }
		skopeo := func(to string) { b.tool("skopeo", "copy", "-q", "--insecure-policy", "oci:"+layout+":1", to) }
		skopeo("docker-archive:" + at("skopeo-docker.tar") + ":theirs/skopeo:1")
		skopeo("oci-archive:" + at("skopeo-oci.tar") + ":theirs/skopeo:2")
		b.tool("tar", "-C", layout, "-czf", at("layout.tar.gz"), ".")
		b.tool("skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "oci:"+layout+":1", "docker://"+b.name("theirs/app:1"))
		for _, format := range []string{"tarball", "legacy"} {
			b.tool("crane", "pull", "--insecure", "--platform", "linux/amd64", "--format", format, b.name("theirs/app:1"), at("crane-"+format+".tar"))
		}
		b.tool("crane", "pull", "--insecure", "--format", "oci", b.name("theirs/app:1"), at("crane"))
		b.tool("tar", "-C", at("crane"), "-cf", at("crane-oci.tar"), ".")
		b.own("podman", "pull", "-q", "oci:"+layout+":1")
		id := b.own("podman", "images", "-q", "--no-trunc")
		for _, format := range []string{"docker-archive", "oci-archive"} {
			b.own("podman", "save", "-q", "--format", format, "-o", at("podman-"+format+".tar"), id)
			b.own("buildah", "push", "-q", id, format+":"+at("buildah-"+format+".tar")+":theirs/buildah:1")
		}
		b.saved(at("docker.tar"), at("skopeo-docker.tar"))
		all, err := filepath.Glob(b.dir + "/*.tar*")
		if err != nil || len(all) < 10 {
			b.Fatalf("archives: %v, %v", all, err)
		}
		for _, archive := range all {
			b.loads(archive)
		}
	})
}

// TestOurArchives has other tools read what hoy saves.
func TestOurArchives(t *testing.T) {
	archives(t, func(b *bench, layout string) {
		at := func(name string) string { return filepath.Join(b.dir, name) }
		b.tool("tar", "-C", layout, "-cf", at("layout.tar"), ".")
		_, id, _ := strings.Cut(b.hoy("load", "-q", "-i", at("layout.tar")), "ID: ")
		b.hoy("tag", id, "ours/app:1")
		b.hoy("save", "-o", at("ours.tar"), "ours/app:1")
		// crane takes all layers of an archive to be compressed as the first one is.
		b.e.ImportBusybox()
		b.hoy("save", "-o", at("plain.tar"), "busybox")
		b.tool("crane", "validate", "--tarball", at("plain.tar"))
		b.hoy("save", "--platform", "linux/amd64", "-o", at("amd64.tar"), "ours/app:1")
		for _, archive := range []string{"ours.tar", "amd64.tar"} {
			b.tool("skopeo", "copy", "-q", "--insecure-policy", "docker-archive:"+at(archive), "oci:"+at("by-skopeo-"+archive)+":1")
			b.tool("skopeo", "copy", "-q", "--insecure-policy", "oci-archive:"+at(archive), "dir:"+at("by-skopeo-oci-"+archive))
			b.own("podman", "load", "-q", "-i", at(archive))
			b.reads(at(archive), b.own("podman", "image", "mount", "ours/app:1"))
			b.own("podman", "image", "umount", "-a")
			b.own("podman", "rmi", "-f", "ours/app:1")
			c := b.own("buildah", "from", "-q", "docker-archive:"+at(archive))
			b.reads(at(archive), b.own("buildah", "mount", c))
			b.own("buildah", "rm", c)
			b.saved("", at(archive))
		}
	})
}

// reads looks at the root file system that a tool made of an archive.
func (b *bench) reads(archive, root string) {
	b.Helper()
	if got, err := os.ReadFile(filepath.Join(root, "arch")); err != nil || string(got) != "amd64" {
		b.Errorf("%s: the root file system says %q, %v", archive, got, err)
	}
}

// saved has the reference engine load an archive, run its image, and save it to out if
// that is given.
func (b *bench) saved(out, archive string) {
	b.Helper()
	b.withReference(func(docker func(args ...string) string) {
		_, ref, _ := strings.Cut(docker("load", "-q", "-i", archive), ": ")
		if got := docker("run", "--rm", "--network", "none", ref, "cat", "/arch"); got != "amd64" {
			b.Errorf("%s: the reference engine's container says %q", archive, got)
		}
		if out != "" {
			docker("save", "-o", out, ref)
		}
		docker("rmi", "-f", ref)
	})
}
