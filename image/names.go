package image

import (
	"errors"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"hoy/lib/fault"
)

// danglingPrefix names images that have no name, as docker does in containerd's
// metadata: moby-dangling@sha256:….
const danglingPrefix = "moby-dangling@"

func danglingName(d digest.Digest) string { return danglingPrefix + d.String() }

func isDangling(name string) bool { return strings.HasPrefix(name, danglingPrefix) }

// notFound is docker's answer for a reference that leads nowhere.
func notFound(ref reference.Reference) error {
	if named, ok := ref.(reference.Named); ok {
		ref = reference.TagNameOnly(named)
	}
	return fault.New(fault.NotFound, "No such image: %s", reference.FamiliarString(ref))
}

var errAmbiguous = errors.New("ambiguous reference")

func parse(ref string) (reference.Reference, error) {
	r, err := reference.ParseAnyReference(ref)
	if err != nil {
		return nil, fault.As(fault.Invalid, err)
	}
	return r, nil
}

// parseTag parses a name for an image: no digest, ":latest" when it has no tag.
func parseTag(name string) (reference.NamedTagged, error) {
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid reference format: %q: %w", name, err)
	}
	if _, ok := n.(reference.Digested); ok {
		return nil, fault.New(fault.Invalid, "refusing to create a tag with a digest reference")
	}
	if reference.FamiliarName(n) == "sha256" {
		return nil, fault.New(fault.Invalid, "refusing to create an ambiguous tag using digest algorithm as name")
	}
	t, ok := reference.TagNameOnly(n).(reference.NamedTagged)
	if !ok {
		return nil, fault.New(fault.Invalid, "invalid reference format: %q has no tag", name)
	}
	return t, nil
}

// shortID returns ref without "sha256:" when it can be (the beginning of) an ID.
func shortID(ref string) (string, bool) {
	id := strings.TrimPrefix(ref, "sha256:")
	if len(id) < 4 || len(id) > 64 {
		return "", false
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return id, true
}

// withTag shortens what somebody called an image, and adds the tag that is meant.
func withTag(ref string) string {
	if n, err := reference.ParseNormalizedNamed(ref); err == nil {
		return reference.FamiliarString(reference.TagNameOnly(n))
	}
	return ref
}

// familiar shortens a stored name for people.
func familiar(name string) string {
	if n, err := reference.ParseNormalizedNamed(name); err == nil {
		return reference.FamiliarString(n)
	}
	return name
}
