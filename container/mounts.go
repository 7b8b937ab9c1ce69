package container

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"hoy/container/spec"
	"hoy/lib/cleanup"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/volume"
)

// mountPoint is one file system of the container besides those every container
// has; the embedded part is what inspect shows.
type mountPoint struct {
	apicontainer.MountPoint
	Anonymous    bool              // a volume that goes with the container (rm -v, --rm)
	Populate     bool              // copy the image's files into the new volume
	CreateSource bool              // make a missing source directory
	Hidden       bool              // not in inspect's Mounts: docker shows --tmpfs only in HostConfig
	Labels       map[string]string // of the volume
	Tmpfs        []string          // options

	NonRecursive, ReadOnlyNonRecursive, ReadOnlyForceRecursive bool
}

// mountPoints lists the container's mounts. Volumes have no source yet.
func mountPoints(c *apicontainer.Config, h *apicontainer.HostConfig) ([]mountPoint, error) {
	requests, err := spec.Mounts(c, h)
	if err != nil {
		return nil, err
	}
	var list []mountPoint
	for _, r := range requests {
		m := mountPoint{MountPoint: apicontainer.MountPoint{Type: r.Type, Destination: r.Target, Mode: r.Mode, RW: !r.ReadOnly}}
		switch r.Type {
		case mount.TypeVolume:
			m.volume(r)
		case mount.TypeBind:
			err = m.bind(r)
		case mount.TypeTmpfs:
			m.Tmpfs = r.TmpfsOptions
			m.Hidden = !slices.ContainsFunc(h.Mounts, func(o mount.Mount) bool { return path.Clean(o.Target) == r.Target })
		}
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func (m *mountPoint) volume(r spec.MountRequest) {
	m.Name, m.Driver = r.Source, "local"
	m.Anonymous = r.Source == ""
	m.Populate = true
	if o := r.VolumeOptions; o != nil {
		m.Populate = !o.NoCopy
		m.Labels = o.Labels
	}
	if m.Mode == "" && !m.Anonymous {
		m.Mode = "z" // docker's default, with and without SELinux
	}
}

func (m *mountPoint) bind(r spec.MountRequest) error {
	m.Source, m.CreateSource, m.Propagation = r.Source, r.CreateSource, mount.PropagationRPrivate
	if o := r.BindOptions; o != nil {
		if o.Propagation != "" {
			m.Propagation = o.Propagation
		}
		m.NonRecursive, m.ReadOnlyNonRecursive, m.ReadOnlyForceRecursive = o.NonRecursive, o.ReadOnlyNonRecursive, o.ReadOnlyForceRecursive
	}
	if m.CreateSource {
		return nil
	}
	if _, err := os.Stat(m.Source); errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Invalid, "invalid mount config for type %q: bind source path does not exist: %s", mount.TypeBind, m.Source)
	}
	return nil
}

// useVolumes makes the volumes of a container to be and refers to them.
func (c *Containers) useVolumes(rec *record, undo *cleanup.Stack) error {
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		if m.Type != mount.TypeVolume {
			continue
		}
		v, err := c.o.Volumes.Use(volume.Request{Name: m.Name, Driver: m.Driver, Labels: m.Labels, Volatile: m.Anonymous && rec.Host.AutoRemove}, rec.ID)
		if err != nil {
			return err
		}
		m.Name, m.Source = v.Name, v.Mountpoint
		undo.Add(func() {
			c.o.Volumes.Release(v.Name, rec.ID)
			if m.Anonymous {
				c.o.Volumes.Remove(v.Name, true)
			}
		})
	}
	return nil
}

// releaseVolumes drops the container's references; anonymous volumes go too when
// asked for.
func (c *Containers) releaseVolumes(rec *record, remove bool) {
	for _, m := range rec.Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		c.o.Volumes.Release(m.Name, rec.ID)
		if remove && m.Anonymous {
			if err := c.o.Volumes.Remove(m.Name, true); err != nil && !fault.Is(err, fault.Conflict) {
				c.log.Warn("cannot remove volume", "volume", m.Name, "container", rec.ID, "error", err)
			}
		}
	}
}

// prepareMounts makes the sources ready, root being the container's root file
// system, and returns the mounts for the specification.
func (c *Containers) prepareMounts(rec *record, root *os.File) ([]spec.Mount, error) {
	list := make([]spec.Mount, 0, len(rec.Mounts))
	for _, m := range rec.Mounts {
		if err := c.prepareMount(rec, m, root); err != nil {
			return nil, err
		}
		s := spec.Mount{
			Type: "bind", Source: m.Source, Destination: m.Destination, ReadOnly: !m.RW, Propagation: string(m.Propagation),
			NonRecursive: m.NonRecursive, ReadOnlyNonRecursive: m.ReadOnlyNonRecursive, ReadOnlyForceRecursive: m.ReadOnlyForceRecursive,
			// On disk a volume's files belong to whom they belong in the containers: it
			// serves those with and without a user namespace. A bind shows the machine's
			// ids, as docker has it.
			MapIDs: m.Type == mount.TypeVolume && c.userMap(rec) != nil,
		}
		if m.Type == mount.TypeTmpfs {
			s.Type, s.Source, s.Options = "tmpfs", "", m.Tmpfs
		}
		list = append(list, s)
	}
	return list, nil
}

func (c *Containers) prepareMount(rec *record, m mountPoint, root *os.File) error {
	switch {
	case m.Type == mount.TypeVolume && m.Populate && rec.State.Generation == 0:
		return c.o.Volumes.Populate(m.Name, root, m.Destination, c.userMap(rec))
	case m.Type == mount.TypeBind:
		_, err := os.Stat(m.Source)
		if errors.Is(err, os.ErrNotExist) && m.CreateSource {
			err = makeSource(m.Source, c.userMap(rec))
		}
		if err != nil {
			return fault.New(fault.Invalid, "cannot mount %s on %s: %w", m.Source, m.Destination, err)
		}
	}
	return nil
}

// makeSource makes a bind's missing directories, which belong to the container's root.
func makeSource(dir string, ids *idmap.Map) error {
	if parent := path.Dir(dir); parent != dir {
		if _, err := os.Stat(parent); errors.Is(err, os.ErrNotExist) {
			if err := makeSource(parent, ids); err != nil {
				return err
			}
		}
	}
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, os.ErrExist): // another container's start was quicker
		return nil
	case err != nil || ids == nil:
		return err
	}
	uid, _ := ids.UID(0)
	gid, _ := ids.GID(0)
	return os.Chown(dir, int(uid), int(gid))
}

// shownMounts is what inspect and ps show.
func (r *record) shownMounts() []apicontainer.MountPoint {
	l := make([]apicontainer.MountPoint, 0, len(r.Mounts))
	for _, m := range r.Mounts {
		if !m.Hidden {
			l = append(l, m.MountPoint)
		}
	}
	return l
}

// shmDir makes the directory of a /dev/shm that other containers may join.
func (c *Containers) shmDir(id string) string { return fmt.Sprintf("%s/shm/%s", c.o.ExecRoot, id) }
