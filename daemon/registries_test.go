package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"reflect"
	"testing"

	"github.com/distribution/reference"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry"
	"hoy/registry/registrytest"
)

// What is asked of a registry about a name is its descriptor and its platforms: those of
// an index, or that of the configuration.
func TestRegistriesInspect(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	d := &Daemon{}
	client, err := registry.New(registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d.registries.Store(client)
	named, _ := reference.ParseNormalizedNamed(reg.Host + "/a/b")
	repo, err := client.Repository(t.Context(), named, registry.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	config := []byte(`{"os": "linux", "architecture": "arm", "variant": "v7", "rootfs": {}}`)
	c := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	if err := repo.Upload(t.Context(), c, func(off int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(config[off:])), nil
	}, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	arm := ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	m := put(t, repo, "image", ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": c, "layers": []ocispec.Descriptor{},
	})
	of := m
	of.Platform = &arm
	i := put(t, repo, "latest", ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []ocispec.Descriptor{of},
	})
	for ref, want := range map[string]ocispec.Descriptor{"": i, ":latest": i, ":image": m, "@" + m.Digest.String(): m} {
		got, err := registries{d}.Inspect(t.Context(), named.String()+ref, apiregistry.AuthConfig{})
		if err != nil || !reflect.DeepEqual(got.Descriptor, want) || !reflect.DeepEqual(got.Platforms, []ocispec.Platform{arm}) {
			t.Errorf("%q: %+v, %v", ref, got, err)
		}
	}
	if _, err := (registries{d}).Inspect(t.Context(), named.String()+":none", apiregistry.AuthConfig{}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := (registries{d}).Inspect(t.Context(), "A", apiregistry.AuthConfig{}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func put(t *testing.T, repo *registry.Repository, tag, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := repo.PutManifest(context.Background(), d, raw, tag); err != nil {
		t.Fatal(err)
	}
	return d
}

// An option counts more than the environment, which counts where there is none.
func TestProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	t.Setenv("HTTPS_PROXY", "http://192.0.2.2:2")
	t.Setenv("NO_PROXY", "example.org")
	o := Options{HTTPSProxy: "http://192.0.2.3:3"}
	for address, want := range map[string]string{
		"http://example.com":      "http://192.0.2.1:1",
		"https://example.com":     "http://192.0.2.3:3",
		"https://example.org/v2/": "",
		"http://127.0.0.1:5000":   "",
	} {
		u, _ := url.Parse(address)
		got, err := o.proxy()(u)
		if err != nil || got == nil && want != "" || got != nil && got.String() != want {
			t.Errorf("%s by %v, %v; want %q", address, got, err, want)
		}
	}
}
