package cli

import (
	"context"
	"regexp"
	"strings"

	"hoy/client"
	"hoy/client/credentials"
)

// imageName is a name of an image in its parts. Whether they are well formed the engine
// says: distribution/reference, by which it does, takes longer to start than hoy does.
type imageName struct {
	domain      string // of the registry; "" for the default one
	path        string
	tag, digest string
}

func parseImageName(text string) (n imageName) {
	text, n.digest, _ = strings.Cut(text, "@")
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, '/') {
		text, n.tag = text[:i], text[i+1:]
	}
	first, rest, more := strings.Cut(text, "/")
	// What cannot be a part of a path is a domain.
	if more && (strings.ContainsAny(first, ".:") || first == "localhost" || strings.ToLower(first) != first) {
		n.domain, n.path = first, rest
	} else {
		n.path = text
	}
	return n
}

// bare reports that there is neither tag nor digest.
func (n imageName) bare() bool { return n.tag == "" && n.digest == "" }

// reference is the digest, or else the tag.
func (n imageName) reference() string {
	if n.digest != "" {
		return n.digest
	}
	return n.tag
}

// repository is the name without tag and digest.
func (n imageName) repository() string {
	if n.domain != "" {
		return n.domain + "/" + n.path
	}
	return n.path
}

func (n imageName) String() string {
	s := n.repository()
	if n.tag != "" {
		s += ":" + n.tag
	}
	if n.digest != "" {
		s += "@" + n.digest
	}
	return s
}

// tagged is the name, with :latest if it is bare.
func (n imageName) tagged() string {
	if n.bare() {
		n.tag = "latest"
	}
	return n.String()
}

// full is the name with the default registry's domain, which the address of its index
// says; without one it stays short.
func (n imageName) full(index string) string {
	domain := strings.TrimPrefix(credentials.Host(index), "index.")
	if n.ofDefault(index) && domain != "" {
		n.domain = domain
		if !strings.Contains(n.path, "/") {
			n.path = "library/" + n.path
		}
	}
	return n.String()
}

// ofDefault reports whether the name is one of the default registry.
func (n imageName) ofDefault(index string) bool {
	host := credentials.Host(index)
	return n.domain == "" || host != "" && (n.domain == host || n.domain == strings.TrimPrefix(host, "index."))
}

// server is how docker's configuration names the registry, "" if nobody knows.
func (n imageName) server(index string) string {
	if n.ofDefault(index) {
		return index
	}
	return n.domain
}

// isImageID reports whether a text is an image's whole id, which no registry knows.
func isImageID(text string) bool {
	return regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`).MatchString(text)
}

// index is the address of the default registry's index, "" of an engine that has none.
func index(ctx context.Context, c *client.Client) (string, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return "", err
	}
	return info.IndexServerAddress, nil
}
