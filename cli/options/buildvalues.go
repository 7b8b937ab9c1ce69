package options

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// checkContext reads --build-context.
func checkContext(s string) (string, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" || value == "" {
		return "", fmt.Errorf("invalid context value: %s, expected key=value", s)
	}
	return strings.ToLower(name) + "=" + value, nil
}

// checkAllow refuses what can be asked for nowhere.
func checkAllow(s string) (string, error) {
	name, _, _ := strings.Cut(s, "=")
	switch name {
	case "network.host", "security.insecure", "device":
		return s, nil
	case "buildx.local.delete":
		return "", errors.New("buildx.local.delete is for outputs with mode=delete, which are not built yet")
	}
	return "", fmt.Errorf("unknown entitlement %q: it is one of network.host, security.insecure, device", s)
}

// checkAttest reads --attest.
func checkAttest(s string) (string, error) {
	if _, _, err := attributes(s); err != nil {
		return "", fmt.Errorf("%q is no attestation: %w: write one like type=provenance,mode=max", s, err)
	}
	return s, nil
}

// checkCache reads --cache-from and --cache-to: an image, or type=….
func checkCache(s string) (string, error) {
	if !strings.Contains(s, "=") {
		return checkNotEmpty("cache", "type=registry,ref=example.com/web:cache")(s)
	}
	kind, _, err := attributes(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is no cache: %w: write one like type=registry,ref=example.com/web:cache", s, err)
	case kind == "local":
		return "", errors.New("a cache of type local is not built yet: use type=registry, with 'hoy registry' if there is none")
	}
	return s, nil
}

// secret is one of --secret.
type secret struct{ id, file, env string }

func checkSecret(s string) (string, error) { _, err := parseSecret(s); return s, err }

// parseSecret reads id=NAME with src=FILE or env=NAME; with neither it is the variable of
// its name, or the file.
func parseSecret(s string) (x secret, err error) {
	f, err := csvFields(s)
	if err != nil {
		return x, fmt.Errorf("%q is no secret: %w", s, err)
	}
	kind := ""
	for _, field := range f {
		k, v, ok := strings.Cut(field, "=")
		if !ok {
			return x, fmt.Errorf("invalid field '%s' must be a key=value pair", field)
		}
		switch strings.ToLower(k) {
		case "type":
			if kind = v; kind != "file" && kind != "env" {
				return x, fmt.Errorf("unsupported secret type %q: it is file or env", v)
			}
		case "id":
			x.id = v
		case "src", "source":
			x.file = v
		case "env":
			x.env = v
		default:
			return x, fmt.Errorf("unexpected key '%s' in '%s': a secret has id, src, env, type", k, field)
		}
	}
	if kind == "env" && x.env == "" {
		x.env, x.file = x.file, ""
	}
	if x.id == "" {
		return x, fmt.Errorf("the secret %q has no id: write id=NAME", s)
	}
	return x, nil
}

// secretSize is the most that BuildKit lets a secret have.
const secretSize = 500 << 10

// readSecrets gets what the secrets are.
func (o *Build) readSecrets(e Env) (map[string][]byte, error) {
	if len(o.secrets.v) == 0 {
		return nil, nil
	}
	all := map[string][]byte{}
	for _, s := range o.secrets.v {
		x, err := parseSecret(s)
		if err != nil {
			return nil, err
		}
		if all[x.id], err = x.read(e); err != nil {
			return nil, fmt.Errorf("cannot read the secret %s: %w", x.id, err)
		}
		if len(all[x.id]) > secretSize {
			return nil, fmt.Errorf("the secret %s is too large: it may have 500 kB", x.id)
		}
	}
	return all, nil
}

func (x secret) read(e Env) ([]byte, error) {
	switch {
	case x.env != "":
		v, ok := e.Lookup(x.env)
		if !ok {
			return nil, fmt.Errorf("the variable %s is not set", x.env)
		}
		return []byte(v), nil
	case x.file == "":
		if v, ok := e.Lookup(x.id); ok {
			return []byte(v), nil
		}
		x.file = x.id
	}
	f, err := e.Open(x.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, secretSize+1))
	return slices.Clip(b), err
}
