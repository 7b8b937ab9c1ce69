package server

import (
	"net/http"

	"hoy/lib/fault"
)

// statusOf is the one place where a kind of error becomes a status.
func statusOf(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.NotModified:
		return http.StatusNotModified
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.Unauthorized:
		return http.StatusUnauthorized
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.NotImplemented:
		return http.StatusNotImplemented
	}
	return http.StatusInternalServerError
}

// ofRegistry is an error of what a registry was asked for. One that cannot be reached, or
// has a fault, is 500 as dockerd's, not 503: testcontainers takes that for the engine's own
// lack, and goes on trying for a quarter of an hour.
func ofRegistry(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return fault.As(fault.Internal, err)
	}
	return err
}
