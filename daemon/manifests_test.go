package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry"
	"hoy/registry/registrytest"
	"hoy/server"
)

// uploaded is a blob that a repository has now.
func uploaded(t *testing.T, repo *registry.Repository, mediaType string, content []byte) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	open := func(off int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content[off:])), nil }
	if err := repo.Upload(t.Context(), d, open, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	return d
}

// An index in one repository may have images of another: their blobs come with them.
func TestManifests(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	d := &Daemon{}
	client, err := registry.New(registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d.registries.Store(client)
	r := registries{d}
	source, _ := reference.ParseNormalizedNamed(reg.Host + "/a/source")
	repo, err := client.Repository(t.Context(), source, registry.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	c := uploaded(t, repo, ocispec.MediaTypeImageConfig, []byte(`{"os": "linux", "architecture": "arm", "variant": "v7"}`))
	layer := uploaded(t, repo, ocispec.MediaTypeImageLayer, []byte("a layer"))
	put(t, repo, "1", ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": c, "layers": []ocispec.Descriptor{layer},
	})
	got, err := r.Manifest(t.Context(), source.String()+":1", server.ManifestOptions{})
	if err != nil || !reflect.DeepEqual(got.Descriptor.Platform, &ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}) || digest.FromBytes(got.Raw) != got.Descriptor.Digest {
		t.Fatal(got, err)
	}
	target := reg.Host + "/b/target"
	from := server.ManifestOptions{From: source.String()}
	if _, err := r.PutManifest(t.Context(), target+"@"+got.Descriptor.Digest.String(), *got, server.ManifestOptions{}); err == nil {
		t.Error("a manifest was stored before its blobs")
	}
	stored, err := r.PutManifest(t.Context(), target+"@"+got.Descriptor.Digest.String(), *got, from)
	if err != nil || stored.Digest != got.Descriptor.Digest {
		t.Fatal(stored, err)
	}
	index := server.Manifest{Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex}}
	index.Raw, _ = json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{got.Descriptor}})
	index.Raw = bytes.Replace(index.Raw, []byte(`"schemaVersion":0`), []byte(`"schemaVersion":2`), 1)
	if _, err := r.PutManifest(t.Context(), target+":list", index, server.ManifestOptions{}); err != nil {
		t.Fatal(err)
	}
	again, err := r.Manifest(t.Context(), target+":list", server.ManifestOptions{})
	if err != nil || !bytes.Equal(again.Raw, index.Raw) || again.Descriptor.Platform != nil {
		t.Errorf("%s, %v", again.Raw, err)
	}

	for name, c := range map[string]struct {
		ref string
		m   server.Manifest
		o   server.ManifestOptions
	}{
		"another digest":   {target + "@" + digest.FromString("x").String(), *got, from},
		"no name":          {"A", *got, from},
		"no source":        {target + ":x", *got, server.ManifestOptions{From: "A"}},
		"another registry": {target + ":x", *got, server.ManifestOptions{From: "example.com/a"}},
		"no manifest":      {target + ":x", server.Manifest{Descriptor: ocispec.Descriptor{MediaType: "text/plain"}}, from},
	} {
		if _, err := r.PutManifest(t.Context(), c.ref, c.m, c.o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Manifest(t.Context(), target+":none", server.ManifestOptions{}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}
