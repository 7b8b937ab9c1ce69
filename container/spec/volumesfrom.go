package spec

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/mount"
)

// VolumesFrom names a container whose volumes another takes.
type VolumesFrom struct {
	Container string
	Mode      string // "rw", or as given
	ReadOnly  bool
}

// ParseVolumesFrom reads --volumes-from: container[:mode]. The mode says read-only or
// not, and may hold z or Z; how a volume is shared is its owner's.
func ParseVolumesFrom(text string) (VolumesFrom, error) {
	if text == "" {
		return VolumesFrom{}, invalid("volumes-from specification cannot be an empty string")
	}
	name, mode, _ := strings.Cut(text, ":")
	v := VolumesFrom{Container: name, Mode: mode}
	if mode == "" {
		v.Mode = "rw"
	}
	if !validMode(mode) {
		return v, invalid("invalid mode: %s", mode)
	}
	for o := range strings.SplitSeq(mode, ",") {
		switch {
		case o == "ro":
			v.ReadOnly = true
		case o == "copy", o == "nocopy", slices.Contains(mount.Propagations, mount.Propagation(o)):
			return v, invalid("invalid mode: %s", mode)
		}
	}
	return v, nil
}
