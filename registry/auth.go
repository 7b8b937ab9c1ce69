package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"hoy/lib/fault"
)

// authorizer answers one endpoint's challenges (Docker's token specification, RFC 7617)
// and keeps the tokens.
type authorizer struct {
	secret Auth // zero: nobody
	plain  bool // the endpoint itself may be spoken to in the clear
	client *http.Client
	header http.Header
	turn   chan struct{} // held by who asks the token server, so that others wait for its answer

	offline bool // ask for a refresh token too

	mu        sync.Mutex
	challenge *auth.Challenge // nil: the endpoint has asked for nothing yet
	tokens    map[string]token
	identity  string // the refresh token that was given
}

type token struct {
	text    string
	expires time.Time
}

func newAuthorizer(client *http.Client, header http.Header, plain bool) *authorizer {
	c := *client
	p := *client.Transport.(*persistent) // which every client of this package has
	p.next = whole{p.next}
	c.Transport = &p
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if r.Method == http.MethodPost && (r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme) {
			return fmt.Errorf("%w: from the token server to %s, which must not have the credentials", errRedirect, r.URL.Host)
		}
		return client.CheckRedirect(r, via)
	}
	return &authorizer{plain: plain, client: &c, header: header, turn: make(chan struct{}, 1), tokens: map[string]token{}}
}

// value is what to send as Authorization for scopes; "": nothing is known yet, or nothing
// to be sent. fresh tells that it was made for this call.
func (a *authorizer) value(ctx context.Context, scopes []string) (v string, fresh bool, err error) {
	if t := a.secret.RegistryToken; t != "" {
		return "Bearer " + t, true, nil
	}
	a.mu.Lock()
	c := a.challenge
	a.mu.Unlock()
	switch {
	case c == nil:
		return "", false, nil
	case c.Scheme == auth.BasicAuth:
		if a.secret.Username == "" {
			return "", false, nil
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.secret.Username+":"+a.secret.Password)), true, nil
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
	key := strings.Join(scopes, " ")
	a.mu.Lock()
	t, ok := a.tokens[key]
	a.mu.Unlock()
	if ok && time.Now().Before(t.expires) {
		return "Bearer " + t.text, false, nil
	}
	if t, err = a.fetch(ctx, c, scopes); err != nil {
		return "", false, err
	}
	a.mu.Lock()
	a.tokens[key] = t
	a.mu.Unlock()
	return "Bearer " + t.text, true, nil
}

// answer takes a refusal (401) and tells whether it makes sense to ask again: the
// challenge is the first one, or a token that was kept is not taken any more.
func (a *authorizer) answer(res *http.Response, sent string, fresh bool, scopes []string) (wider []string, again bool, err error) {
	if a.secret.RegistryToken != "" {
		return scopes, false, nil
	}
	challenges := auth.ParseAuthHeader(res.Header)
	n := slices.IndexFunc(challenges, func(c auth.Challenge) bool {
		return c.Scheme == auth.BearerAuth || c.Scheme == auth.BasicAuth
	})
	if n < 0 {
		return scopes, false, nil
	}
	c := challenges[n]
	wider = scopes
	if c.Scheme == auth.BearerAuth {
		if err := a.checkRealm(c.Parameters["realm"]); err != nil {
			return nil, false, err
		}
		for _, s := range strings.Fields(c.Parameters["scope"]) {
			if !covered(wider, s) {
				wider = append(slices.Clip(wider), s)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.challenge = &c
	if sent != "" && !fresh {
		delete(a.tokens, strings.Join(scopes, " "))
	}
	switch {
	case c.Scheme == auth.BasicAuth:
		return wider, sent == "" && a.secret.Username != "", nil
	case sent == "" || !fresh:
		return wider, true, nil
	}
	return wider, len(wider) > len(scopes), nil
}

// covered tells whether scopes allow all that s does: what it is for is the same, and
// its actions are among theirs.
func covered(scopes []string, s string) bool {
	n := strings.LastIndexByte(s, ':')
	for _, have := range scopes {
		if actions, ok := strings.CutPrefix(have, s[:n+1]); ok {
			list := strings.Split(actions, ",")
			if !slices.ContainsFunc(strings.Split(s[n+1:], ","), func(a string) bool { return !slices.Contains(list, a) }) {
				return true
			}
		}
	}
	return false
}

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
	now := time.Now()
	if identity := a.secret.IdentityToken; identity != "" {
		o.Username, o.Secret = "", identity
		r, err := auth.FetchTokenWithOAuth(ctx, a.client, a.header, "hoy", o)
		if err != nil {
			return token{}, a.refused(o, err)
		}
		return newToken(r.AccessToken, r.ExpiresInSeconds, now), nil
	}
	o.FetchRefreshToken = a.offline
	r, err := auth.FetchToken(ctx, a.client, a.header, o)
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
