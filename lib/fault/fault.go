// Package fault gives errors a kind, so that the HTTP status, the gRPC code and
// the exit code of a failure are each decided in one place.
package fault

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
)

// Kind says what sort of failure an error is. The zero value is Internal.
type Kind uint8

// The kinds. Each maps to one HTTP status in package server.
const (
	Internal       Kind = iota // a bug, or the kernel refused something it should not have
	Invalid                    // the caller asked for something that makes no sense
	NotFound                   // the named object does not exist
	Conflict                   // the object's present state forbids the request
	NotModified                // the object already is in the requested state
	Forbidden                  // the caller may not do this
	Unauthorized               // credentials are missing or wrong
	Unavailable                // a resource is exhausted or a peer is down; trying later may help
	NotImplemented             // a known feature that this version does not have
)

type fault struct {
	kind Kind
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// New returns an error of kind k. The format takes %w as fmt.Errorf does.
func New(k Kind, format string, args ...any) error {
	return &fault{k, fmt.Errorf(format, args...)}
}

// As gives err the kind k, keeping its text. As(k, nil) is nil.
func As(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &fault{k, err}
}

// KindOf returns the kind of the outermost error in err's chain that has one.
// Errors of containerd's libraries carry their kind in errdefs.
func KindOf(err error) Kind {
	var f *fault
	if errors.As(err, &f) {
		return f.kind
	}
	switch {
	case errdefs.IsNotFound(err):
		return NotFound
	case errdefs.IsInvalidArgument(err):
		return Invalid
	case errdefs.IsAlreadyExists(err), errdefs.IsConflict(err), errdefs.IsFailedPrecondition(err):
		return Conflict
	case errdefs.IsUnavailable(err), errdefs.IsResourceExhausted(err):
		return Unavailable
	case errdefs.IsNotImplemented(err):
		return NotImplemented
	}
	return Internal
}

// OfPeer is the kind of a failure that another server answers with an HTTP status: a
// refusal keeps its kind, all else is of kind otherwise.
func OfPeer(status int, otherwise Kind) Kind {
	switch status { // by number: the keeper, which has this package, has no net/http
	case 400:
		return Invalid
	case 401:
		return Unauthorized
	case 403:
		return Forbidden
	case 404:
		return NotFound
	}
	return otherwise
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }
