package registry

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
)

// authorizer answers one endpoint's challenges (Docker's token specification, RFC 7617)
// and keeps the tokens.
type authorizer struct {
	secret Auth   // zero: nobody
	host   string // of the endpoint
	plain  bool   // the endpoint itself may be spoken to in the clear
	client *http.Client
	header http.Header
	turn   chan struct{} // held by who asks the token server, so that others wait for its answer

	offline bool // ask for a refresh token too

	mu        sync.Mutex
	challenge *auth.Challenge     // nil: the endpoint has asked for nothing yet
	tokens    map[string]token    // by their scopes
	wide      map[string][]string // what the endpoint wants for scopes, where it wants more
	identity  string              // the refresh token that was given
}

type token struct {
	text    string
	expires time.Time
}

func newAuthorizer(client *http.Client, host string, header http.Header, plain bool) *authorizer {
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
	return &authorizer{
		host: host, plain: plain, client: &c, header: header, turn: make(chan struct{}, 1),
		tokens: map[string]token{}, wide: map[string][]string{},
	}
}

// wanted are the scopes that the endpoint has been known to want for these.
func (a *authorizer) wanted(scopes []string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.wide[strings.Join(scopes, " ")]; w != nil {
		return w
	}
	return scopes
}

// widen keeps what the endpoint wants for scopes.
func (a *authorizer) widen(scopes, wider []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wide[strings.Join(scopes, " ")] = wider
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
