package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	apiregistry "github.com/moby/moby/api/types/registry"

	"hoy/lib/fault"
)

// credentials reads X-Registry-Auth: JSON in base64, of either alphabet and with or
// without padding, as clients have it. None is no error.
func (r *request) credentials() (a apiregistry.AuthConfig, err error) {
	text := strings.TrimRight(r.Header.Get(apiregistry.AuthHeader), "=")
	if text == "" {
		return a, nil
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		return apiregistry.AuthConfig{}, fault.New(fault.Invalid, "invalid %s header: want JSON in base64 (URL alphabet)", apiregistry.AuthHeader)
	}
	return a, nil
}

// meta are the headers that are meant for the registry: docker's clients send them when
// HttpHeaders of their config.json has them.
func (r *request) meta() http.Header {
	var meta http.Header
	for k, v := range r.Header {
		if strings.HasPrefix(k, "X-Meta-") {
			if meta == nil {
				meta = http.Header{}
			}
			meta[k] = v
		}
	}
	return meta
}

// login checks credentials, which are in the body.
func login(r *request) response {
	var a apiregistry.AuthConfig
	if err := r.body(&a); err != nil {
		return failure{err}
	}
	if a.Username == "" && a.Password == "" && a.Auth != "" { // as configuration files have it
		b, err := base64.StdEncoding.DecodeString(a.Auth)
		name, password, ok := strings.Cut(string(b), ":")
		if err != nil || !ok {
			return failure{fault.New(fault.Invalid, "auth: want NAME:PASSWORD in base64")}
		}
		a.Username, a.Password = name, password
	}
	token, err := r.server.Registries.Login(r.Context(), a)
	return result(apiregistry.AuthResponse{Status: "Login Succeeded", IdentityToken: token}, ofRegistry(err))
}

func imageSearch(r *request) response {
	f, err := r.filters("is-automated", "is-official", "stars")
	if err != nil {
		return failure{err}
	}
	o := SearchOptions{Term: r.value("term")}
	if o.Limit, _, err = r.integer("limit"); err != nil {
		return failure{err}
	}
	if o.Auth, err = r.credentials(); err != nil {
		return failure{err}
	}
	automated, err := f.Bool("is-automated", false)
	if err != nil {
		return failure{err}
	}
	if f.Has("is-official") {
		official, err := f.Bool("is-official", false)
		if err != nil {
			return failure{err}
		}
		o.Official = &official
	}
	for _, s := range f.Get("stars") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return failure{fault.New(fault.Invalid, "invalid filter 'stars=%s'", s)}
		}
		o.Stars = max(o.Stars, n)
	}
	if automated { // nothing is said to be any more
		return ok([]apiregistry.SearchResult{})
	}
	found, err := r.server.Registries.Search(r.Context(), o)
	return result(found, ofRegistry(err))
}

func distributionInspect(r *request) response {
	a, err := r.credentials()
	if err != nil {
		return failure{err}
	}
	d, err := r.server.Registries.Inspect(r.Context(), r.vars[0], a)
	return result(d, ofRegistry(err))
}
