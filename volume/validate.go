package volume

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"hoy/lib/fault"
)

// validate refuses what cannot be made, in docker's words where it has them.
func validate(r Request) error {
	if r.Driver != "" && r.Driver != "local" {
		return fault.New(fault.NotFound, "create %s: error looking up volume plugin %s: plugin %q not found", r.Name, r.Driver, r.Driver)
	}
	if err := ValidName(r.Name); err != nil {
		return fault.New(fault.Invalid, "create %s: %w", r.Name, err)
	}
	if err := validOptions(r.Options); err != nil {
		return fault.New(fault.Invalid, "create %s: %w", r.Name, err)
	}
	return nil
}

// validOptions checks the options of the local driver. "size" alone limits a volume
// on this machine's disk; the others need each other.
func validOptions(o map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains([]string{"type", "o", "device", "size"}, k) {
			return fault.New(fault.Invalid, "invalid option: %q", k)
		}
	}
	if o["type"] == "cifs" && o["device"] != "" {
		u, err := url.Parse(o["device"])
		if err != nil {
			return fault.New(fault.Invalid, "error parsing mount device url: %w", err)
		}
		if u.Port() != "" {
			return fault.New(fault.Invalid, "port not allowed in CIFS device URL, include 'port' in 'o='")
		}
	}
	for _, need := range [][2]string{{"device", "type"}, {"type", "device"}, {"o", "device"}, {"o", "type"}} {
		if _, given := o[need[0]]; !given {
			continue
		}
		if _, ok := o[need[1]]; !ok {
			return fault.New(fault.Invalid, "missing required option: %q", need[1])
		}
	}
	size, given := o["size"]
	if !given {
		return nil
	}
	if _, err := units.RAMInBytes(size); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	if o["type"] != "" {
		return fault.New(fault.Invalid, "size limits a volume on this machine's disk: a file system of its own takes its size in 'o='")
	}
	return nil
}

// ValidName checks a volume's name: two to 255 of docker's restricted characters.
func ValidName(name string) error {
	if len(name) < 2 {
		return fault.New(fault.Invalid, "volume name is too short, names should be at least two alphanumeric characters")
	}
	if len(name) > 255 { // NAME_MAX
		return fault.New(fault.Invalid, "volume name of %d bytes is longer than 255", len(name))
	}
	ok := func(i int, c byte) bool {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		return alnum || i > 0 && strings.IndexByte("_.-", c) >= 0
	}
	for i := range len(name) {
		if !ok(i, name[i]) {
			return fault.New(fault.Invalid, "%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", name)
		}
	}
	return nil
}
