package server

import (
	"strconv"
	"strings"

	"hoy/lib/fault"
)

// version is an API version 1.N, as N.
type version int

const (
	maxVersion version = 56
	defVersion version = 40 // the oldest that is answered unless somebody asks for older ones
	minVersion version = 24
)

func (v version) String() string { return "1." + strconv.Itoa(int(v)) }

// parseVersion reads 1.N; what is no version of ours, as "", is the oldest by default.
func parseVersion(s string) version {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "1."))
	if err != nil || version(n) < minVersion || version(n) > maxVersion {
		return defVersion
	}
	return version(n)
}

// cutVersion takes /vX.Y off path and remembers it in r; without it the newest
// version holds.
func (r *request) cutVersion(path string) (rest string, err error) {
	r.version = maxVersion
	number, ok := strings.CutPrefix(path, "/v")
	if !ok || number == "" || number[0] < '0' || number[0] > '9' {
		return path, nil
	}
	number, rest, _ = strings.Cut(number, "/")
	if strings.Trim(number, "0123456789.") != "" {
		return path, nil
	}
	majorText, minorText, _ := strings.Cut(number, ".")
	major, err := strconv.Atoi(majorText)
	minor, minorErr := strconv.Atoi(minorText)
	if err != nil || minorText != "" && minorErr != nil {
		return "", fault.New(fault.Invalid, "invalid API version %q", number)
	}
	switch {
	case major < 1, major == 1 && version(minor) < r.server.oldest:
		r.ancient = major < 1 || version(minor) < minVersion
		return "", fault.New(fault.Invalid, "client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", number, r.server.oldest)
	case major > 1, version(minor) > maxVersion:
		return "", fault.New(fault.Invalid, "client version %s is too new. Maximum supported API version is %s", number, maxVersion)
	}
	r.version = version(minor)
	return "/" + rest, nil
}
