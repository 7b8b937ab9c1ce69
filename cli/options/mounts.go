package options

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/mount"
)

// mounts is the flag --mount.
type mounts struct{ v []mount.Mount }

func (m *mounts) Type() string   { return "mount" }
func (m *mounts) String() string { return "" }

func (m *mounts) Set(s string) error {
	p, err := parseMount(s)
	if err != nil {
		return err
	}
	m.v = append(m.v, p)
	return nil
}

// fields splits a value as docker does: comma-separated, quoted as in CSV.
func fields(s string) ([]string, error) {
	if strings.TrimSpace(s) == "" {
		return nil, errors.New("value is empty")
	}
	f, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", s, err)
	}
	return f, nil
}

// parseMount reads type=…,source=…,target=…,…
func parseMount(s string) (m mount.Mount, err error) {
	fs, err := fields(s)
	if err != nil {
		return m, err
	}
	m.Type = mount.TypeVolume
	b := mountParser{m: &m}
	for _, f := range fs {
		k, v, has := strings.Cut(f, "=")
		if k = strings.ToLower(k); k != strings.TrimSpace(k) {
			return m, fmt.Errorf("invalid option %q in %q: option should not have whitespace", k, f)
		}
		if err := b.field(k, v, has); err != nil {
			return m, fmt.Errorf("%w in %q", err, s)
		}
	}
	return m, b.finish()
}

type mountParser struct {
	m                           *mount.Mount
	bind, volume, tmpfs, images bool // options of that kind were given
}

func (b *mountParser) field(k, v string, has bool) (err error) {
	switch k {
	case "readonly", "ro":
		b.m.ReadOnly, err = boolean(k, v, has)
		return err
	case "volume-nocopy":
		b.volume = true
		b.volumeOptions().NoCopy, err = boolean(k, v, has)
		return err
	case "bind-nonrecursive":
		b.bind = true
		b.bindOptions().NonRecursive, err = boolean(k, v, has)
		return err
	case "bind-create-src":
		b.bind = true
		b.bindOptions().CreateMountpoint, err = boolean(k, v, has)
		return err
	}
	if k == "idmap" {
		if b.m.Consistency = "idmap"; has {
			b.m.Consistency = mount.Consistency("idmap=" + v)
		}
		return nil
	}
	if !has {
		return fmt.Errorf("invalid field '%s' must be a key=value pair", k)
	}
	switch {
	case strings.HasPrefix(k, "bind-"):
		b.bind = true
		return b.bindField(k, v)
	case strings.HasPrefix(k, "volume-"):
		b.volume = true
		return b.volumeField(k, v)
	case strings.HasPrefix(k, "tmpfs-"):
		b.tmpfs = true
		return b.tmpfsField(k, v)
	}
	switch k {
	case "type":
		b.m.Type = mount.Type(strings.ToLower(v))
	case "source", "src":
		b.m.Source = v
	case "target", "dst", "destination":
		b.m.Target = v
	case "consistency":
		b.m.Consistency = mount.Consistency(strings.ToLower(v))
	case "image-subpath":
		b.images = true
		b.m.ImageOptions = &mount.ImageOptions{Subpath: v}
	default:
		return fmt.Errorf("unknown option '%s': the options are type, source, target, readonly, bind-propagation, bind-recursive, volume-subpath, volume-opt, tmpfs-size, …", k)
	}
	return nil
}

func boolean(k, v string, has bool) (bool, error) {
	if !has {
		return true, nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("invalid value for %s: %s: it is true or false", k, v)
	}
	return on, nil
}

func (b *mountParser) bindOptions() *mount.BindOptions {
	if b.m.BindOptions == nil {
		b.m.BindOptions = &mount.BindOptions{}
	}
	return b.m.BindOptions
}

func (b *mountParser) volumeOptions() *mount.VolumeOptions {
	if b.m.VolumeOptions == nil {
		b.m.VolumeOptions = &mount.VolumeOptions{}
	}
	return b.m.VolumeOptions
}

func (b *mountParser) bindField(k, v string) error {
	o := b.bindOptions()
	switch k {
	case "bind-propagation":
		o.Propagation = mount.Propagation(strings.ToLower(v))
		for _, p := range mount.Propagations {
			if p == o.Propagation {
				return nil
			}
		}
		return fmt.Errorf("invalid propagation '%s': it is one of rprivate, private, rshared, shared, rslave, slave", v)
	case "bind-recursive":
		switch v {
		case "enabled":
		case "disabled":
			o.NonRecursive = true
		case "writable":
			o.ReadOnlyNonRecursive = true
		case "readonly":
			o.ReadOnlyForceRecursive = true
		default:
			return fmt.Errorf("invalid value for bind-recursive: %s: it is one of enabled, disabled, writable, readonly", v)
		}
		return nil
	}
	return fmt.Errorf("unknown option '%s': the options of a bind are bind-propagation, bind-recursive, bind-create-src", k)
}

func (b *mountParser) volumeField(k, v string) error {
	o := b.volumeOptions()
	switch k {
	case "volume-subpath":
		o.Subpath = v
	case "volume-label":
		key, val, _ := strings.Cut(v, "=")
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		o.Labels[key] = val
	case "volume-driver":
		b.driver().Name = v
	case "volume-opt":
		key, val, _ := strings.Cut(v, "=")
		if b.driver().Options == nil {
			b.driver().Options = map[string]string{}
		}
		b.driver().Options[key] = val
	default:
		return fmt.Errorf("unknown option '%s': the options of a volume are volume-subpath, volume-label, volume-driver, volume-opt, volume-nocopy", k)
	}
	return nil
}

func (b *mountParser) driver() *mount.Driver {
	o := b.volumeOptions()
	if o.DriverConfig == nil {
		o.DriverConfig = &mount.Driver{}
	}
	return o.DriverConfig
}

func (b *mountParser) tmpfsField(k, v string) error {
	if b.m.TmpfsOptions == nil {
		b.m.TmpfsOptions = &mount.TmpfsOptions{}
	}
	switch k {
	case "tmpfs-size":
		n, err := units.RAMInBytes(v)
		if err != nil {
			return fmt.Errorf("invalid value for %s: %s: write a size like 64m", k, v)
		}
		b.m.TmpfsOptions.SizeBytes = n
	case "tmpfs-mode":
		n, err := strconv.ParseUint(v, 8, 32)
		if err != nil {
			return fmt.Errorf("invalid value for %s: %s: write it in octal, like 1777", k, v)
		}
		b.m.TmpfsOptions.Mode = os.FileMode(n)
	default:
		return fmt.Errorf("unknown option '%s': the options of a tmpfs are tmpfs-size, tmpfs-mode", k)
	}
	return nil
}

// finish judges what the fields mean together.
func (b *mountParser) finish() error {
	m := b.m
	switch m.Type {
	case mount.TypeBind, mount.TypeVolume, mount.TypeTmpfs, mount.TypeImage, mount.TypeNamedPipe, mount.TypeCluster:
	default:
		return fmt.Errorf("invalid mount type '%s': it is one of bind, volume, tmpfs, image", m.Type)
	}
	if m.Target == "" {
		return errors.New("target is required: write type=bind,source=/srv,target=/data")
	}
	for _, c := range []struct {
		given bool
		name  string
		of    mount.Type
	}{{b.bind, "bind-*", mount.TypeBind}, {b.volume, "volume-*", mount.TypeVolume}, {b.tmpfs, "tmpfs-*", mount.TypeTmpfs}, {b.images, "image-*", mount.TypeImage}} {
		if c.given && m.Type != c.of {
			return fmt.Errorf("cannot mix '%s' options with mount type '%s'", c.name, m.Type)
		}
	}
	switch {
	case isIDMap(string(m.Consistency)) && m.Type != mount.TypeBind && m.Type != mount.TypeVolume:
		return errors.New("idmap is an option of binds and volumes")
	case m.Type == mount.TypeBind && m.Source == "":
		return errors.New("source is required for a bind: write type=bind,source=/srv,target=/data")
	case m.Type == mount.TypeTmpfs && m.Source != "":
		return errors.New("a tmpfs has no source: write type=tmpfs,target=/run")
	}
	if o := m.BindOptions; o != nil && !m.ReadOnly && (o.ReadOnlyNonRecursive || o.ReadOnlyForceRecursive) {
		return errors.New("option 'bind-recursive=writable' or 'readonly' requires 'readonly' to be specified in conjunction")
	}
	if o := m.BindOptions; o != nil && o.ReadOnlyForceRecursive && o.Propagation != mount.PropagationRPrivate {
		return errors.New("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
	}
	return nil
}
