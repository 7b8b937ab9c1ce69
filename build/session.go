package build

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/moby/api/types/registry"
	"google.golang.org/grpc"
)

// attach offers BuildKit what a request itself has for it, as a client would by its
// session: secrets, credentials, and places for archives. It returns the session's id,
// "" when there is nothing to offer.
func (b *Builder) attach(ctx context.Context, r *Request) (id string, end func(), err error) {
	var offers []session.Attachable
	if len(r.Secrets) > 0 {
		offers = append(offers, secretsprovider.FromMap(r.Secrets))
	}
	if len(r.Auth) > 0 {
		offers = append(offers, credentials{auths: r.Auth})
	}
	var targets []filesync.FSSyncTarget
	for i, o := range r.Outputs {
		if o.W != nil {
			targets = append(targets, filesync.WithFSSync(i, func(map[string]string) (io.WriteCloser, error) { return writeOnly{o.W}, nil }))
		}
	}
	if len(targets) > 0 {
		offers = append(offers, filesync.NewFSSyncTarget(targets...))
	}
	key := ""
	if r.Files != nil {
		var dirs filesync.StaticDirSource
		dirs, key = offered(r.Files)
		offers = append(offers, filesync.NewFSSyncProvider(dirs))
	}
	if len(offers) == 0 {
		return "", func() {}, nil
	}
	s, err := session.NewSession(ctx, key)
	if err != nil {
		return "", nil, err
	}
	for _, o := range offers {
		s.Allow(o)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var both sync.WaitGroup
	both.Go(func() {
		s.Run(ctx, func(_ context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			near, far := net.Pipe()
			both.Go(func() { b.ServeSession(ctx, far, meta) })
			return near, nil
		})
	})
	return s.ID(), func() {
		cancel() // BuildKit's end first: it would take the other's for a failure
		s.Close()
		both.Wait()
	}, nil
}

type writeOnly struct{ io.Writer }

func (writeOnly) Close() error { return nil }

// credentials answers BuildKit's question for a registry's. Tokens the engine fetches
// itself.
type credentials struct {
	auth.UnimplementedAuthServer
	auths map[string]registry.AuthConfig
}

func (c credentials) Register(s *grpc.Server) { auth.RegisterAuthServer(s, c) }

func (c credentials) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	a := authFor(c.auths, r.Host)
	if a.IdentityToken != "" {
		return &auth.CredentialsResponse{Secret: a.IdentityToken}, nil
	}
	return &auth.CredentialsResponse{Username: a.Username, Secret: a.Password}, nil
}

// authFor chooses the credentials for a registry's host.
func authFor(auths map[string]registry.AuthConfig, host string) registry.AuthConfig {
	for key, a := range auths {
		if sameRegistry(key, host) {
			return a
		}
	}
	return registry.AuthConfig{}
}

// sameRegistry compares a key of docker's config.json, which may be a URL, with a host.
func sameRegistry(key, host string) bool {
	if strings.Contains(key, "://") {
		if u, err := url.Parse(key); err == nil {
			key = u.Host
		}
	}
	key, _, _ = strings.Cut(key, "/")
	return hub(key) == hub(host)
}

// hub gives the names that Docker Hub has the one that credentials are kept by.
func hub(host string) string {
	switch host {
	case "docker.io", "registry-1.docker.io":
		return "index.docker.io"
	}
	return host
}
