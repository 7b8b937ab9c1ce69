package volume

import (
	"maps"
	"slices"
	"strings"

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
	if keys := slices.Sorted(maps.Keys(r.Options)); len(keys) > 0 {
		switch k := keys[0]; k { // one is enough to refuse
		case "type", "o", "device":
			return fault.New(fault.NotImplemented, "create %s: option %q of the local driver is not supported yet: mount the device or directory on this machine and bind it (-v /path:/target), or use --tmpfs", r.Name, k)
		case "size":
			return fault.New(fault.Invalid, "create %s: quota size requested but no quota support", r.Name)
		}
		return fault.New(fault.Invalid, "create %s: invalid option: %q", r.Name, keys[0])
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
