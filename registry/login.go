package registry

import (
	"context"
	"errors"
	"net/http"

	"hoy/lib/fault"
)

// domainOf is the domain of names that an address, as clients give it, stands for: the
// default registry is known by that of its index too. "" is the default registry.
func domainOf(address string) string {
	switch h := hostOf(address); h {
	case "", "index." + defaultDomain, registryHost(defaultDomain):
		return defaultDomain
	default:
		return h
	}
}

// Login has a registry check credentials: the one that they are for, no mirror. A token
// server may give a refresh token, to be kept in place of the password; "": it does not.
// A registry that asks for nothing takes anything.
func (c *Client) Login(ctx context.Context, a Auth) (identityToken string, err error) {
	endpoints, err := c.endpoints(ctx, domainOf(a.ServerAddress), a)
	if err != nil {
		return "", err
	}
	e := endpoints[len(endpoints)-1]
	e.auth.offline = true
	res, err := e.do(ctx, request{method: http.MethodGet, url: e.url("", "")})
	var s *statusError
	switch {
	case errors.As(err, &s) && (s.code == http.StatusUnauthorized || s.code == http.StatusForbidden):
		return "", fault.New(fault.Unauthorized, "%s refuses the login: %w", domainOf(a.ServerAddress), s)
	case errors.As(err, &s) && s.code == http.StatusNotFound:
		return "", fault.New(fault.Invalid, "%s is no registry: %w", domainOf(a.ServerAddress), s)
	case err != nil:
		return "", err
	}
	discard(res)
	if e.auth.identity == "" {
		return a.IdentityToken, nil
	}
	return e.auth.identity, nil
}
