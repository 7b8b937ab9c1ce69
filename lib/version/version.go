// Package version says which build of hoy this is.
package version

// Version, Commit and Built are set by the linker (see the Makefile).
var (
	Version = "0.1.0-dev"
	Commit  = ""
	Built   = "" // when, as RFC 3339 has it
)

// API versions of Docker that hoy speaks.
const (
	API    = "1.56"
	MinAPI = "1.40"
)
