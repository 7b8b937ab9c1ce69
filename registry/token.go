package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"hoy/lib/fault"
)

// checkRealm refuses a token server to which credentials must not go: the challenge is
// whatever the registry, or who stands in its place, says.
func (a *authorizer) checkRealm(realm string) error {
	u, err := url.Parse(realm)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return fault.New(fault.Unavailable, "the registry names no token server that can be asked: realm %q", realm)
	case u.Scheme == "https" || u.Scheme == "http" && a.plain:
		return nil
	}
	return fault.New(fault.Unavailable, "the registry names a token server without TLS, %s: credentials are not sent there; add the registry to insecure-registries if it is meant", u.Redacted())
}

// fetch asks the token server.
func (a *authorizer) fetch(ctx context.Context, c *auth.Challenge, scopes []string) (token, error) {
	o, err := auth.GenerateTokenOptions(ctx, "", a.secret.Username, a.secret.Password, *c)
	if err != nil {
		return token{}, err
	}
	o.Scopes = scopes
	h := a.header
	if u, err := url.Parse(o.Realm); err != nil || u.Host != a.host {
		h = http.Header{"User-Agent": h["User-Agent"]} // others may be passwords, of hosts.toml
	}
	now := time.Now()
	if identity := a.secret.IdentityToken; identity != "" {
		o.Username, o.Secret = "", identity
		r, err := auth.FetchTokenWithOAuth(ctx, a.client, h, "hoy", o)
		if err != nil {
			return token{}, a.refused(o, err)
		}
		return newToken(r.AccessToken, r.ExpiresInSeconds, now), nil
	}
	o.FetchRefreshToken = a.offline
	r, err := auth.FetchToken(ctx, a.client, h, o)
	if err != nil {
		return token{}, a.refused(o, err)
	}
	a.mu.Lock()
	a.identity = r.RefreshToken
	a.mu.Unlock()
	return newToken(r.Token, r.ExpiresInSeconds, now), nil
}

// newToken takes the time that a token lasts, which is a minute where nothing is said, and
// ends it a little earlier: it has to arrive yet.
func newToken(text string, seconds int, now time.Time) token {
	last := time.Duration(max(seconds, 60)) * time.Second
	return token{text, now.Add(last - last/10)}
}

// refused gives the token server's refusal as an error of its kind.
func (a *authorizer) refused(o auth.TokenOptions, err error) error {
	u, _ := url.Parse(o.Realm)
	var status remoteerrors.ErrUnexpectedStatus
	var way *url.Error
	switch {
	case errors.As(err, &way):
		return networkError(u.Host, err)
	case !errors.As(err, &status):
		return fault.New(fault.Unavailable, "token server %s: %w", u.Host, err)
	}
	return &statusError{host: u.Host, what: "token server", code: status.StatusCode, text: bodyText(status.Body)}
}

// whole reads an answer to its end, which is soon: one that breaks off is then as good as
// none.
type whole struct{ next http.RoundTripper }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, nil
}
