package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"

	"github.com/distribution/reference"
	apiregistry "github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/net/http/httpproxy"

	"hoy/lib/fault"
	"hoy/lib/version"
	"hoy/registry"
	"hoy/server"
)

// certsDirs are where certificates and hosts.toml of registries are looked for: docker's
// folder is an administrator's word too.
func certsDirs() []string { return []string{"/etc/hoy/certs.d", "/etc/docker/certs.d"} }

// registries makes the client of registries that the options ask for. It tells warn what
// goes wrong without an operation's failing.
func (o *Options) registries(warn func(text string, about ...any)) (*registry.Client, error) {
	return registry.New(registry.Config{
		Mirrors: o.Mirrors, Insecure: o.InsecureRegistries, CertsDirs: certsDirs(), Attempts: max(o.MaxDownloadAttempts, 1),
		UserAgent: fmt.Sprintf("hoy/%s (%s; %s) kernel/%s", version.Version, runtime.GOOS, runtime.GOARCH, kernelVersion()),
		Proxy:     o.proxy(), Warn: warn,
	})
}

// proxy says by which proxy an address is reached: what an option leaves open the
// environment says.
func (o *Options) proxy() func(*url.URL) (*url.URL, error) {
	c := httpproxy.FromEnvironment()
	c.HTTPProxy = orEnv(o.HTTPProxy, "HTTP_PROXY")
	c.HTTPSProxy = orEnv(o.HTTPSProxy, "HTTPS_PROXY")
	c.NoProxy = orEnv(o.NoProxy, "NO_PROXY")
	return c.ProxyFunc()
}

// registries implements the server's Registries with the client of the present options.
type registries struct{ d *Daemon }

// Login has a registry check credentials.
func (r registries) Login(ctx context.Context, a apiregistry.AuthConfig) (string, error) {
	return r.d.registries.Load().Login(ctx, credentials(a))
}

// Search asks a registry's index.
func (r registries) Search(ctx context.Context, o server.SearchOptions) ([]apiregistry.SearchResult, error) {
	return r.d.registries.Load().Search(ctx, registry.SearchOptions{Term: o.Term, Limit: o.Limit, Official: o.Official, Stars: o.Stars}, credentials(o.Auth))
}

// credentials are the API's, as package registry has them.
func credentials(a apiregistry.AuthConfig) registry.Auth {
	return registry.Auth{
		Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken, ServerAddress: a.ServerAddress,
	}
}

func transferAuth(o server.ImageTransferOptions) registry.Auth {
	a := credentials(o.Auth)
	a.Meta = o.Meta
	return a
}

// Inspect tells what a name stands for in its registry, and for which platforms it is.
func (r registries) Inspect(ctx context.Context, ref string, a apiregistry.AuthConfig) (*apiregistry.DistributionInspect, error) {
	repo, _, tag, err := r.repository(ctx, ref, server.ManifestOptions{Auth: a})
	if err != nil {
		return nil, err
	}
	d, err := repo.Resolve(ctx, tag)
	if err != nil {
		return nil, err
	}
	platforms, err := remotePlatforms(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	return &apiregistry.DistributionInspect{Descriptor: d, Platforms: platforms}, nil
}

// repository opens the repository of a name, and tells the name's digest or tag.
func (r registries) repository(ctx context.Context, ref string, o server.ManifestOptions) (repo *registry.Repository, named reference.Named, tag string, err error) {
	if named, err = reference.ParseNormalizedNamed(ref); err != nil {
		return nil, nil, "", fault.New(fault.Invalid, "invalid reference %q: %w", ref, err)
	}
	tag = "latest"
	switch n := named.(type) {
	case reference.Digested:
		tag = n.Digest().String()
	case reference.Tagged:
		tag = n.Tag()
	}
	client := r.d.registries.Load()
	if o.Insecure {
		opts := *r.d.now.Load()
		opts.InsecureRegistries = append(slices.Clone(opts.InsecureRegistries), reference.Domain(named))
		if client, err = opts.registries(r.d.log.Warn); err != nil {
			return nil, nil, "", err
		}
	}
	repo, err = client.Repository(ctx, named, credentials(o.Auth))
	return repo, named, tag, err
}

// remotePlatforms are those of an index, or the one that an image's configuration names.
// What is no image has none.
func remotePlatforms(ctx context.Context, repo *registry.Repository, d ocispec.Descriptor) ([]ocispec.Platform, error) {
	var m struct {
		Manifests []struct{ Platform *ocispec.Platform }
		Config    *ocispec.Descriptor
	}
	if err := fetchJSON(ctx, repo, d, &m); err != nil {
		return nil, err
	}
	var l []ocispec.Platform
	for _, one := range m.Manifests {
		if one.Platform != nil {
			l = append(l, *one.Platform)
		}
	}
	if m.Config == nil {
		return l, nil
	}
	var p ocispec.Platform
	if err := fetchJSON(ctx, repo, *m.Config, &p); err == nil && (p.OS != "" || p.Architecture != "") {
		l = append(l, p)
	}
	return l, nil
}

// fetchJSON decodes a small blob.
func fetchJSON(ctx context.Context, repo *registry.Repository, d ocispec.Descriptor, v any) error {
	b, err := fetchSmall(ctx, repo, d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.New(fault.Unavailable, "cannot read %s: %w", d.Digest, err)
	}
	return nil
}

// mostManifest is how long manifests and configurations may be, in bytes.
const mostManifest = 4 << 20

// fetchSmall reads a small blob whose digest must be right.
func fetchSmall(ctx context.Context, repo *registry.Repository, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > mostManifest {
		return nil, fault.New(fault.Invalid, "%s has %d bytes: too many for a manifest or configuration", d.Digest, d.Size)
	}
	body, err := repo.Fetch(ctx, d, 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil, fault.New(fault.Unavailable, "the registry gives another content for %s", d.Digest)
	}
	return b, nil
}
