package spec

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/mount"

	"hoy/lib/fault"
)

func (v *validation) mounts() error {
	h := v.h
	for _, m := range h.Mounts {
		if err := v.mount(&m); err != nil {
			return err
		}
	}
	if _, err := Mounts(v.c, h); err != nil {
		return err
	}
	for _, from := range h.VolumesFrom {
		if _, err := ParseVolumesFrom(from); err != nil {
			return err
		}
	}
	_, err := StorageSize(h)
	return err
}

func (v *validation) mount(m *mount.Mount) error {
	if m.Type == mount.TypeCluster {
		return fault.New(fault.Unavailable, `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`)
	}
	if err := v.mountFields(m); err != nil {
		return invalid("invalid mount config for type %q: %w", m.Type, err)
	}
	return nil
}

func (v *validation) mountFields(m *mount.Mount) error {
	for _, f := range []struct {
		name string
		set  bool
		of   mount.Type
	}{
		{"BindOptions", m.BindOptions != nil, mount.TypeBind}, {"VolumeOptions", m.VolumeOptions != nil, mount.TypeVolume},
		{"ImageOptions", m.ImageOptions != nil, mount.TypeImage}, {"TmpfsOptions", m.TmpfsOptions != nil, mount.TypeTmpfs},
		{"ClusterOptions", m.ClusterOptions != nil, mount.TypeCluster},
	} {
		if f.set && m.Type != f.of {
			return invalid("field %s must not be specified", f.name)
		}
	}
	if m.Target == "" {
		return invalid("field Target must not be empty")
	}
	if err := checkTarget(m.Target); err != nil {
		return err
	}
	ids, err := ParseIDMap(string(m.Consistency))
	switch {
	case err != nil:
		return err
	case ids != nil && m.Type != mount.TypeBind && m.Type != mount.TypeVolume:
		return invalid("idmap is an option of binds and volumes")
	case ids != nil:
		return v.mountSource(m)
	}
	switch m.Consistency {
	case "", mount.ConsistencyFull, mount.ConsistencyCached, mount.ConsistencyDelegated, mount.ConsistencyDefault:
	default:
		return invalid("invalid consistency: %s", m.Consistency)
	}
	return v.mountSource(m)
}

func (v *validation) mountSource(m *mount.Mount) error {
	switch m.Type {
	case mount.TypeBind:
		return checkBind(m)
	case mount.TypeVolume:
		return checkVolume(m)
	case mount.TypeTmpfs:
		if m.Source != "" {
			return invalid("field Source must not be specified")
		}
		_, err := tmpfsOptions(m.TmpfsOptions)
		return err
	case mount.TypeImage:
		return checkImage(m)
	}
	return invalid("mount type unknown")
}

func checkBind(m *mount.Mount) error {
	if m.Source == "" {
		return invalid("field Source must not be empty")
	}
	if !strings.HasPrefix(m.Source, "/") {
		return invalid("invalid mount path: '%s' mount path must be absolute", m.Source)
	}
	o := m.BindOptions
	switch {
	case o == nil:
	case o.Propagation != "" && !slices.Contains(mount.Propagations, o.Propagation):
		return invalid("invalid propagation mode: %s", o.Propagation)
	case o.ReadOnlyNonRecursive && o.ReadOnlyForceRecursive:
		return invalid("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
	case (o.ReadOnlyNonRecursive || o.ReadOnlyForceRecursive) && !m.ReadOnly:
		return invalid("ReadOnlyNonRecursive and ReadOnlyForceRecursive need ReadOnly")
	case o.ReadOnlyForceRecursive && o.NonRecursive:
		return invalid("mount options conflict: NonRecursive && ReadOnlyForceRecursive")
	}
	return nil
}

func checkVolume(m *mount.Mount) error {
	if m.Source != "" {
		if err := checkVolumeName(m.Source); err != nil {
			return err
		}
	}
	if o := m.VolumeOptions; o != nil && o.Subpath != "" {
		if m.Source == "" {
			return invalid("must not set Subpath when using anonymous volumes")
		}
		return checkSubpath(o.Subpath)
	}
	return nil
}

func checkImage(m *mount.Mount) error {
	if m.Source == "" {
		return invalid("field Source must not be empty")
	}
	if m.ImageOptions != nil && m.ImageOptions.Subpath != "" {
		return checkSubpath(m.ImageOptions.Subpath)
	}
	return nil
}

func checkSubpath(p string) error {
	if !filepath.IsLocal(p) || strings.Contains(p, "\x00") {
		return invalid("subpath must be a relative path within the volume")
	}
	return nil
}

// checkVolumeName holds names to docker's rule, which keeps them inside the
// folder of volumes.
func checkVolumeName(name string) error {
	if len(name) < 2 {
		return invalid("create %s: volume name is too short, names should be at least two alphanumeric characters", name)
	}
	ok := name[0] != '.' && name[0] != '-' && name[0] != '_'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-')
	}
	if !ok {
		return invalid("create %s: %q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", name, name)
	}
	return nil
}
