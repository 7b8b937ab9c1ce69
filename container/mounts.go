package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"

	"hoy/container/spec"
	"hoy/lib/cleanup"
	"hoy/lib/fault"
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
	Options      map[string]string // of the volume's driver
	Subpath      string            // within the volume or the image
	Image        *imageRecord      // of a mount of an image
	Tmpfs        []string          // options
	IDMap        string            // the option idmap, as it was given
	Spreads      bool              // the request named Propagation: it is had, or the start fails

	NonRecursive, ReadOnlyNonRecursive, ReadOnlyForceRecursive bool
}

// mountPoints lists the container's mounts: those of other containers that it takes,
// its own in their place, and the volumes of its configuration where nothing is yet.
// Volumes have no source, and images are not looked up.
func mountPoints(c *apicontainer.Config, h *apicontainer.HostConfig, taken []mountPoint, shallow bool) ([]mountPoint, error) {
	requests, err := spec.Mounts(c, h)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(taken)
	for _, r := range requests {
		there := func(m mountPoint) bool { return m.Destination == r.Target }
		if r.Declared && slices.ContainsFunc(list, there) {
			continue
		}
		list = slices.DeleteFunc(list, there)
		m := mountPoint{MountPoint: apicontainer.MountPoint{Type: r.Type, Destination: r.Target, Mode: r.Mode, RW: !r.ReadOnly}}
		switch r.Type {
		case mount.TypeVolume:
			m.volume(r)
		case mount.TypeBind:
			err = m.bind(r)
			m.ReadOnlyNonRecursive = m.ReadOnlyNonRecursive || shallow && r.ReadOnly
			m.Spreads = m.Propagation != ""
		case mount.TypeImage:
			m.image(r)
		case mount.TypeTmpfs:
			m.Tmpfs = r.TmpfsOptions
			m.Hidden = !slices.ContainsFunc(h.Mounts, func(o mount.Mount) bool { return path.Clean(o.Target) == r.Target })
		}
		if err != nil {
			return nil, err
		}
		if ids, _ := spec.ParseIDMap(string(r.Consistency)); ids != nil {
			m.IDMap = string(r.Consistency)
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
		m.Labels, m.Subpath = o.Labels, o.Subpath
		if d := o.DriverConfig; d != nil {
			m.Driver, m.Options = first(d.Name, m.Driver), d.Options
		}
	}
	if m.Mode == "" && !r.Declared {
		m.Mode = "z" // docker's default, with and without SELinux
	}
}

func (m *mountPoint) image(r spec.MountRequest) {
	m.Name, m.RW, m.Propagation = r.Source, false, mount.PropagationRPrivate
	if o := r.ImageOptions; o != nil {
		m.Subpath = o.Subpath
	}
}

// volumesFrom lists what the container takes from others (--volumes-from), of two at
// one place the later: their volumes, binds and images, not what is theirs alone, a
// tmpfs.
func (c *Containers) volumesFrom(h *apicontainer.HostConfig) ([]mountPoint, error) {
	var list []mountPoint
	for _, text := range h.VolumesFrom {
		from, err := spec.ParseVolumesFrom(text)
		if err != nil {
			return nil, err
		}
		k, err := c.index.get(from.Container)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%w", err) // not found would mean the image to clients
		}
		for _, m := range k.rec().Mounts {
			if m.Type == mount.TypeTmpfs {
				continue
			}
			m.RW, m.Mode, m.Populate = m.RW && !from.ReadOnly, from.Mode, false
			list = slices.DeleteFunc(list, func(o mountPoint) bool { return o.Destination == m.Destination })
			list = append(list, m)
		}
	}
	return list, nil
}

// holdImages finds the images that are mounted, and keeps their layers until released
// runs, by when the record pins them.
func (c *Containers) holdImages(ctx context.Context, rec *record, released *cleanup.Stack) error {
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		if m.Type != mount.TypeImage || m.Image != nil { // another container's pins it already
			continue
		}
		img, release, err := c.o.Images.Hold(ctx, m.Name, nil)
		if err != nil {
			return err
		}
		released.Add(release)
		m.Image = &imageRecord{ID: img.ID, Chain: img.ChainID, Layers: img.Layers}
		if len(img.Layers) > 0 {
			m.Source = img.Layers[0]
		}
	}
	return nil
}

func (m *mountPoint) bind(r spec.MountRequest) error {
	m.Source, m.CreateSource = r.Source, r.CreateSource
	if o := r.BindOptions; o != nil {
		m.Propagation = o.Propagation
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

// propagate settles how mounts spread between binds and the host: not at all, unless
// the request says so. A bind that holds the engine's own directory, or lies in it, must
// follow the host's unmounts, or it would keep alive what the engine has unmounted.
func (c *Containers) propagate(mounts []mountPoint) error {
	for i := range mounts {
		m := &mounts[i]
		if m.Type != mount.TypeBind {
			continue
		}
		near := c.near(m.Source)
		switch {
		case m.Propagation == "" && near:
			m.Propagation = mount.PropagationRSlave
		case m.Propagation == "":
			m.Propagation = mount.PropagationRPrivate
		case near && m.Propagation != mount.PropagationRSlave && m.Propagation != mount.PropagationRShared:
			return fault.New(fault.Invalid, `invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root, daemon root: %q, bind mount source: %q, propagation: %q`, filepath.Dir(c.o.Root), m.Source, m.Propagation)
		}
	}
	return nil
}

// near tells whether path holds the engine's own directory, or lies in it.
func (c *Containers) near(path string) bool {
	root := filepath.Dir(c.o.Root)
	return within(root, path) || within(path, root)
}

// within tells whether path is dir or below it.
func within(path, dir string) bool {
	r, err := filepath.Rel(dir, path)
	return err == nil && r != ".." && !strings.HasPrefix(r, "../")
}

// useVolumes makes the volumes of a container to be and refers to them.
func (c *Containers) useVolumes(rec *record, undo *cleanup.Stack) error {
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		if m.Type != mount.TypeVolume {
			continue
		}
		v, err := c.o.Volumes.Use(volume.Request{Name: m.Name, Driver: m.Driver, Options: m.Options, Labels: m.Labels, Volatile: m.Anonymous && rec.Host.AutoRemove}, rec.ID)
		if err != nil {
			return err
		}
		if v.New {
			c.o.Events.Publish(events.VolumeEventType, events.ActionCreate, v.Name, map[string]string{"driver": v.Driver})
		}
		made := m.Name == ""
		m.Name, m.Source = v.Name, v.Mountpoint
		undo.Add(func() {
			c.o.Volumes.Release(v.Name, rec.ID)
			if made {
				c.removeVolume(v.Name, v.Driver)
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
			if err := c.removeVolume(m.Name, m.Driver); err != nil && !fault.Is(err, fault.Conflict) {
				c.log.Warn("cannot remove volume", "volume", m.Name, "container", rec.ID, "error", err)
			}
		}
	}
}

// removeVolume removes an anonymous volume, which somebody may have removed before.
func (c *Containers) removeVolume(name, driver string) error {
	if _, err := c.o.Volumes.Get(name); fault.Is(err, fault.NotFound) {
		return nil
	}
	err := c.o.Volumes.Remove(name, true)
	if err == nil {
		c.o.Events.Publish(events.VolumeEventType, events.ActionDestroy, name, map[string]string{"driver": driver})
	}
	return err
}

// mountEvents tells of the volumes of a container that it has begun to use, or ended.
func (c *Containers) mountEvents(k *Container, a events.Action) {
	for _, m := range k.rec().Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		attributes := map[string]string{"driver": m.Driver, "container": k.id}
		if a == events.ActionMount {
			attributes["destination"], attributes["propagation"] = m.Destination, string(m.Propagation)
			attributes["read/write"] = strconv.FormatBool(m.RW)
		}
		c.o.Events.Publish(events.VolumeEventType, a, m.Name, attributes)
	}
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
