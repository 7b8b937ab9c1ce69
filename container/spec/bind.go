package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// MountRequest is one mount the request asks for, in whatever way.
type MountRequest struct {
	mount.Mount
	Mode         string   // the third part of a bind, as inspect shows it
	TmpfsOptions []string // of either way to ask for a tmpfs, checked
	CreateSource bool     // make a missing source directory: binds do, mounts do not
	Declared     bool     // of the configuration: another container's volume there takes precedence
}

// Mounts lists what the request asks for: binds, mounts, tmpfs and the
// configuration's volumes, each destination once, clean, in that order. A
// volume without a name has an empty Source. After the image's configuration is
// merged into c it lists the image's volumes too.
func Mounts(c *container.Config, h *container.HostConfig) ([]MountRequest, error) {
	var list []MountRequest
	add := func(m MountRequest) error {
		m.Target = path.Clean(m.Target)
		if slices.ContainsFunc(list, func(o MountRequest) bool { return o.Target == m.Target }) {
			return invalid("Duplicate mount point: %s", m.Target)
		}
		list = append(list, m)
		return nil
	}
	for _, raw := range h.Binds {
		m, err := ParseBind(raw)
		if err != nil {
			return nil, err
		}
		useDriver(&m, h.VolumeDriver)
		if err := add(m); err != nil {
			return nil, err
		}
	}
	for _, m := range h.Mounts {
		request := MountRequest{Mount: m, CreateSource: m.BindOptions != nil && m.BindOptions.CreateMountpoint}
		var err error
		if request.TmpfsOptions, err = tmpfsOptions(m.TmpfsOptions); err != nil {
			return nil, err
		}
		if err := add(request); err != nil {
			return nil, err
		}
	}
	for _, target := range sortedKeys(h.Tmpfs) {
		m, err := parseTmpfs(target, h.Tmpfs[target])
		if err == nil {
			err = add(m)
		}
		if err != nil {
			return nil, err
		}
	}
	return addVolumes(list, c.Volumes, h.VolumeDriver)
}

// useDriver gives a volume that names no driver the container's.
func useDriver(m *MountRequest, driver string) {
	if m.Type == mount.TypeVolume && driver != "" {
		m.VolumeOptions = volumeOptions(m.VolumeOptions)
		m.VolumeOptions.DriverConfig = &mount.Driver{Name: driver}
	}
}

// addVolumes adds c's volumes; a mount at the same place takes precedence. Images have
// some without the first slash, as a Dockerfile may write them.
func addVolumes(list []MountRequest, volumes map[string]struct{}, driver string) ([]MountRequest, error) {
	for _, target := range sortedKeys(volumes) {
		if !path.IsAbs(target) {
			target = "/" + target
		}
		if err := checkTarget(target); err != nil {
			return nil, err
		}
		target = path.Clean(target)
		if slices.ContainsFunc(list, func(o MountRequest) bool { return o.Target == target }) {
			continue
		}
		m := MountRequest{Mount: mount.Mount{Type: mount.TypeVolume, Target: target}, Declared: true}
		useDriver(&m, driver)
		list = append(list, m)
	}
	return list, nil
}

// ParseBind reads docker's -v: source:destination[:mode] or just a destination.
// A source that is no absolute path names a volume.
func ParseBind(raw string) (MountRequest, error) {
	part := strings.Split(raw, ":")
	var m MountRequest
	switch {
	case part[0] == "" || len(part) > 3:
		return m, invalid("invalid volume specification: '%s'", raw)
	case len(part) == 1:
		m.Target = part[0]
	case len(part) == 2 && validMode(part[1]) && part[1] != "":
		return m, invalid("invalid volume specification: '%s'", raw)
	case len(part) == 2:
		m.Source, m.Target = part[0], part[1]
	default:
		m.Source, m.Target, m.Mode = part[0], part[1], part[2]
	}
	if !validMode(m.Mode) {
		return m, invalid("invalid mode: %s", m.Mode)
	}
	if err := checkTarget(m.Target); err != nil {
		kind := mount.TypeVolume
		if path.IsAbs(m.Source) {
			kind = mount.TypeBind
		}
		return m, invalid("invalid volume specification: '%s': invalid mount config for type %q: %w", raw, kind, err)
	}
	m.Type = mount.TypeVolume
	if path.IsAbs(m.Source) {
		m.Type, m.Source, m.CreateSource = mount.TypeBind, path.Clean(m.Source), true
	} else if m.Source != "" {
		if err := checkVolumeName(m.Source); err != nil {
			return m, err
		}
	}
	if err := m.applyMode(); err != nil {
		return m, err
	}
	return m, nil
}

// applyMode turns the letters of the mode into the fields of a mount.
func (m *MountRequest) applyMode() error {
	for o := range strings.SplitSeq(m.Mode, ",") {
		switch {
		case o == "ro":
			m.ReadOnly = true
		case o == "nocopy" || o == "copy":
			if m.Type != mount.TypeVolume {
				return invalid("invalid mode: %s: only a volume is copied to", m.Mode)
			}
			m.VolumeOptions = volumeOptions(m.VolumeOptions)
			m.VolumeOptions.NoCopy = o == "nocopy"
		case slices.Contains(mount.Propagations, mount.Propagation(o)):
			if m.Type != mount.TypeBind {
				return invalid("invalid mode: %s: only a bind has a propagation", m.Mode)
			}
			m.BindOptions = &mount.BindOptions{Propagation: mount.Propagation(o)}
		case o == "cached" || o == "delegated" || o == "consistent":
			m.Consistency = mount.Consistency(o)
		case isIDMap(o):
			if _, err := ParseIDMap(o); err != nil {
				return err
			}
			m.Consistency = mount.Consistency(o)
		}
	}
	return nil
}

// validMode accepts at most one letter of each kind.
func validMode(mode string) bool {
	if mode == "" {
		return true
	}
	seen := map[string]bool{}
	for o := range strings.SplitSeq(mode, ",") {
		kind := ""
		switch o {
		case "rw", "ro":
			kind = "access"
		case "z", "Z":
			kind = "label"
		case "copy", "nocopy":
			kind = "copy"
		case "consistent", "cached", "delegated":
			kind = "consistency"
		default:
			if isIDMap(o) {
				kind = "consistency"
			}
			if slices.Contains(mount.Propagations, mount.Propagation(o)) {
				kind = "propagation"
			}
		}
		if kind == "" || seen[kind] {
			return false
		}
		seen[kind] = true
	}
	return true
}

func parseTmpfs(target, options string) (MountRequest, error) {
	m := MountRequest{Mount: mount.Mount{Type: mount.TypeTmpfs, Target: target}}
	if err := checkTarget(target); err != nil {
		return m, err
	}
	for o := range strings.SplitSeq(options, ",") {
		if o != "" {
			m.TmpfsOptions = append(m.TmpfsOptions, o)
		}
	}
	m.ReadOnly = slices.Contains(m.TmpfsOptions, "ro")
	return m, checkTmpfs(m.TmpfsOptions)
}

func checkTarget(target string) error {
	switch {
	case !path.IsAbs(target):
		return invalid("invalid mount path: '%s' mount path must be absolute", target)
	case path.Clean(target) == "/":
		return invalid("invalid specification: destination can't be '/'")
	case strings.Contains(target, "\x00"):
		return invalid("invalid mount path: %q contains a NUL byte", target)
	}
	return nil
}

func volumeOptions(o *mount.VolumeOptions) *mount.VolumeOptions {
	if o == nil {
		return &mount.VolumeOptions{}
	}
	return o
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
