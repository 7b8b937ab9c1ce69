package container

import (
	"errors"
	"os"
	"path"
	"strings"

	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	linuxmount "hoy/linux/mount"
	"hoy/linux/selinux"
)

// prepareMounts makes the sources of the container's mounts ready and returns them for
// the specification. Where a path would not name the source, or could come to name
// another, l.sources has it as a detached mount.
func (l *launch) prepareMounts() ([]spec.Mount, error) {
	list := make([]spec.Mount, 0, len(l.rec.Mounts))
	for _, m := range l.rec.Mounts {
		if err := l.prepareMount(m); err != nil {
			return nil, err
		}
		s := spec.Mount{
			Type: "bind", Source: m.Source, Destination: m.Destination, ReadOnly: !m.RW, Propagation: string(m.Propagation),
			NonRecursive: m.NonRecursive, ReadOnlyNonRecursive: m.ReadOnlyNonRecursive, ReadOnlyForceRecursive: m.ReadOnlyForceRecursive,
			// On disk a volume's files belong to whom they belong in the containers: it
			// serves those with and without a user namespace. A bind shows the machine's
			// ids, as docker has it.
			MapIDs: m.Type == mount.TypeVolume && l.c.userMap(l.rec) != nil,
		}
		if err := l.mapMount(&s, m); err != nil {
			return nil, fault.New(fault.Invalid, "cannot mount %s on %s: %w", m.Source, m.Destination, err)
		}
		if m.Type == mount.TypeTmpfs {
			s.Type, s.Source, s.Options = "tmpfs", "", m.Tmpfs
		}
		list = append(list, s)
	}
	return list, nil
}

// mapMount does what the option idmap says.
func (l *launch) mapMount(s *spec.Mount, m mountPoint) error {
	option, err := spec.ParseIDMap(m.IDMap)
	if err != nil || option == nil {
		return err
	}
	user := l.c.userMap(l.rec)
	ids, err := option.Map(user)
	if err != nil {
		return err
	}
	s.MapIDs = ids == user && user != nil
	if !s.MapIDs {
		s.IDs = ids
	}
	return nil
}

func (l *launch) prepareMount(m mountPoint) error {
	switch m.Type {
	case mount.TypeVolume:
		return l.prepareVolume(m)
	case mount.TypeImage:
		return l.prepareImage(m)
	case mount.TypeBind:
		_, err := os.Stat(m.Source)
		if errors.Is(err, os.ErrNotExist) && m.CreateSource {
			err = makeSource(m.Source, l.c.userMap(l.rec))
		}
		if err != nil {
			return fault.New(fault.Invalid, "cannot mount %s on %s: %w", m.Source, m.Destination, err)
		}
		if err := l.c.spreads(m); err != nil {
			return err
		}
		return l.relabel(m)
	}
	return nil
}

// spreads refuses a propagation that a bind's source cannot have, as docker does: mounts
// spread from and to a mount that is shared only. One that the engine has chosen itself
// (see propagate) is had where it can be.
func (c *Containers) spreads(m mountPoint) error {
	var kind string
	switch m.Propagation {
	case mount.PropagationShared, mount.PropagationRShared:
		kind = "shared"
	case mount.PropagationSlave, mount.PropagationRSlave:
		if !m.Spreads && c.near(m.Source) {
			return nil
		}
		kind = "shared or slave"
	default:
		return nil
	}
	p, err := linuxmount.SiteOf(m.Source)
	if err != nil || p.Shared || p.Slave && kind != "shared" {
		return err
	}
	return fault.New(fault.Invalid, "path %s is mounted on %s but it is not a %s mount", m.Source, p.Point, kind)
}

func (l *launch) prepareVolume(m mountPoint) error {
	c := l.c
	if err := c.o.Volumes.Mount(m.Name, l.k.id); err != nil {
		return err
	}
	if _, err := l.k.running(); err != nil { // else it is the running container's mount, seen by a view
		l.undo.Add(func() { c.o.Volumes.Unmount(m.Name, l.k.id) })
	}
	if err := l.relabel(m); err != nil {
		return err
	}
	if m.Populate && l.rec.State.StartedAt.IsZero() {
		if err := c.o.Volumes.Populate(m.Name, m.Subpath, l.root, m.Destination, c.userMap(l.rec)); err != nil {
			return err
		}
	}
	if m.Subpath == "" {
		return nil
	}
	root, err := os.OpenFile(m.Source, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fault.New(fault.Invalid, "cannot mount volume %s: %w", m.Name, err)
	}
	defer root.Close()
	return l.mountPart(m, root)
}

// prepareImage mounts the image, read-only and with the container's ids.
func (l *launch) prepareImage(m mountPoint) error {
	whole, err := linuxmount.Overlay(linuxmount.OverlayConfig{Lower: m.Image.Layers, ReadOnly: true, UserNS: l.userNS()})
	if err != nil {
		return fault.New(fault.Invalid, "cannot mount image %s: %w", m.Name, err)
	}
	if m.Subpath == "" {
		l.addSource(m, whole)
		return nil
	}
	defer whole.Close()
	return l.mountPart(m, whole)
}

// relabel does what z and Z ask for: the source's files get a label that all containers
// may use, or this one alone. Without SELinux there is nothing to be done.
func (l *launch) relabel(m mountPoint) error {
	if !l.c.host().SELinux {
		return nil
	}
	level := ""
	if m.Type == mount.TypeVolume && m.Mode == "" {
		level = "s0" // docker's default
	}
	for o := range strings.SplitSeq(m.Mode, ",") {
		switch o {
		case "z":
			level = "s0"
		case "Z":
			level = selinux.Level(l.k.id)
		}
	}
	label, err := spec.FileLabel(l.rec.Host, level)
	if level == "" || label == "" || err != nil {
		return err
	}
	return selinux.Relabel(m.Source, label)
}

// mountRoot mounts the container's root file system.
func (l *launch) mountRoot() (*os.File, error) {
	label, err := l.c.fileLabel(l.rec)
	if err != nil {
		return nil, err
	}
	return l.c.o.Layers.Get(l.k.id).Labelled(label).Mount(l.rec.Image.Layers, l.rec.Host.AutoRemove, l.userNS())
}

// fileLabel is the SELinux label of the container's own files, "" for none.
func (c *Containers) fileLabel(rec *record) (string, error) {
	if !c.o.Host.SELinux {
		return "", nil
	}
	return spec.FileLabel(rec.Host, selinux.Level(rec.ID))
}

// mountPart finds m's subpath below root, once and for all.
func (l *launch) mountPart(m mountPoint, root *os.File) error {
	part, err := linuxmount.Sub(root, m.Subpath)
	if err != nil {
		return err
	}
	l.addSource(m, part)
	return nil
}

func (l *launch) addSource(m mountPoint, f *os.File) {
	l.files.Add(func() { f.Close() })
	if l.sources == nil {
		l.sources = map[string]*os.File{}
	}
	l.sources[m.Destination] = f
}

// unmountVolumes says that a container does not run any more.
func (c *Containers) unmountVolumes(rec *record) {
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeVolume {
			c.o.Volumes.Unmount(m.Name, rec.ID)
		}
	}
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
