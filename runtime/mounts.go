package runtime

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/linux/mount"
)

// attachment is one mount of the container: what, and where.
type attachment struct {
	object string // its destination, for errors

	// What: a detached mount, or a file system that only the child can make because
	// it shows the namespaces of the one who makes it, or a copy of a terminal's mount.
	source   *os.File
	fstype   string
	fsSource string
	attr     uint64
	data     []mount.Option
	terminal *os.File
	shared   *os.File // procfs that another container has too

	// Where: on a file in a tree that exists, or inside attachment number in.
	pin    *os.File
	in     int
	inside string
}

// byChild lists the file systems that show the PID, network or IPC namespace of the
// process that mounts them.
var byChild = map[string]bool{"proc": true, "sysfs": true, "mqueue": true}

// mounts prepares the mounts of the spec in their order.
func (b *builder) mounts() error {
	for _, m := range b.spec.Mounts {
		if err := b.mount(m); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.Destination, err)
		}
	}
	if b.c.Init {
		return b.mountInit()
	}
	return nil
}

func (b *builder) mount(m specs.Mount) error {
	a, err := parseOptions(m.Options)
	if err != nil {
		return err
	}
	switch {
	case a.bind || m.Type == "bind":
		return b.bind(m, a)
	case m.Type == "sysfs" && b.c.UserNS != nil && b.hostNetwork():
		// sysfs can be mounted only by who owns the network namespace it shows.
		m.Source = "/sys"
		a.recursive, a.recSet = true, a.recSet|a.set
		return b.bind(m, a)
	case m.Type == "cgroup", m.Type == "cgroup2":
		return b.mountCgroups(m, a)
	case m.Type == "proc" && b.ns.pid != nil:
		return b.sharedProc(m, a)
	case byChild[m.Type]:
		return b.attach(attachment{object: m.Destination, fstype: m.Type, fsSource: m.Source, attr: a.set, data: a.data}, true)
	}
	return b.instance(m, a)
}

// instance mounts a new instance of a file system.
func (b *builder) instance(m specs.Mount, a attributes) error {
	data, err := b.mapIDs(a.data)
	if err != nil {
		return err
	}
	if label := b.spec.Linux.MountLabel; label != "" && (m.Type == "tmpfs" || m.Type == "devpts") {
		data = append(slices.Clone(data), mount.Option{Key: "context", Value: label})
	}
	// Read-only comes later: mount points inside may have to be created first.
	f, err := mount.New(m.Type, m.Source, int(a.set&^unix.MOUNT_ATTR_RDONLY), data...)
	if err != nil {
		return err
	}
	b.keep(f)
	if a.set&unix.MOUNT_ATTR_RDONLY != 0 {
		b.late = append(b.late, func() error { return mount.SetAttr(f, false, unix.MOUNT_ATTR_RDONLY, 0, 0, nil) })
	}
	if a.propagation != 0 && a.propagation != unix.MS_PRIVATE {
		if err := mount.SetAttr(f, false, 0, 0, a.propagation, nil); err != nil {
			return err
		}
	}
	switch {
	case m.Type == "devpts":
		err = b.ownDevpts(f)
	case m.Type == "tmpfs" && m.Destination == "/dev":
		err = b.populateDev(f)
	}
	if err != nil {
		return err
	}
	return b.attach(attachment{object: m.Destination, source: f}, true)
}

// mapIDs translates the owner options of a file system. The engine mounts it, so the
// kernel would take them for ids of the host.
func (b *builder) mapIDs(data []mount.Option) ([]mount.Option, error) {
	if b.owner.m == nil {
		return data, nil
	}
	out := make([]mount.Option, len(data))
	for i, o := range data {
		out[i] = o
		translate := map[string]func(uint32) (int, error){"uid": b.owner.uid, "gid": b.owner.gid}[o.Key]
		if translate == nil {
			continue
		}
		id, err := strconv.ParseUint(o.Value, 10, 32)
		if err != nil {
			return nil, fault.New(fault.Invalid, "mount option %s=%s is not a number", o.Key, o.Value)
		}
		mapped, err := translate(uint32(id))
		if err != nil {
			return nil, err
		}
		out[i].Value = strconv.Itoa(mapped)
	}
	return out, nil
}

// bind prepares a copy of a mount of the host.
func (b *builder) bind(m specs.Mount, a attributes) error {
	f, err := b.source(m, a)
	if err != nil {
		return err
	}
	userns, err := b.mountIDs(m, a)
	if err != nil {
		return err
	}
	if a.propagation == 0 {
		a.propagation, a.propagateRecursive = unix.MS_PRIVATE, true
	}
	if err := setAttributes(f, a, userns); err != nil {
		if userns != nil && errors.Is(err, unix.EINVAL) {
			err = fault.New(fault.Invalid, "the ids of its files cannot be mapped (idmap): its file system, or this kernel, cannot do that: %w", err)
		}
		return err
	}
	directory, err := isDirectory(f)
	if err != nil {
		return err
	}
	return b.attach(attachment{object: m.Destination, source: f}, directory)
}

// source returns what a bind shows.
func (b *builder) source(m specs.Mount, a attributes) (*os.File, error) {
	if f := b.c.Sources[m.Destination]; f != nil {
		return f, nil
	}
	f, err := mount.Bind(m.Source, a.recursive)
	if err == nil {
		b.keep(f)
	}
	return f, err
}

// setAttributes makes one call where the same holds for the mount and those below it.
func setAttributes(f *os.File, a attributes, userns *os.File) error {
	wide := a.recSet != 0 || a.recClear != 0 || a.propagateRecursive || userns != nil && a.recIdmap
	if wide {
		var deep *os.File
		if a.recIdmap {
			deep, userns = userns, nil
		}
		var propagation uint64
		if a.propagateRecursive {
			propagation, a.propagation = a.propagation, 0
		}
		set, clear := a.recSet, a.recClear
		if !a.recursive { // there is nothing below
			set, clear = set|a.set, clear|a.clear
			a.set, a.clear = 0, 0
		}
		if err := mount.SetAttr(f, true, set, clear, propagation, deep); err != nil {
			return err
		}
	}
	if a.set == 0 && a.clear == 0 && a.propagation == 0 && userns == nil {
		return nil
	}
	return mount.SetAttr(f, false, a.set, a.clear, a.propagation, userns)
}

// mountIDs returns the user namespace by which a bind is id-mapped, nil for none.
func (b *builder) mountIDs(m specs.Mount, a attributes) (*os.File, error) {
	if len(m.UIDMappings) > 0 || len(m.GIDMappings) > 0 {
		f, err := idmap.New(&idmap.Map{UIDs: idRanges(m.UIDMappings), GIDs: idRanges(m.GIDMappings)})
		if err != nil {
			return nil, err
		}
		b.keep(f)
		return f, nil
	}
	if !a.idmap {
		return nil, nil
	}
	if b.c.UserNS == nil {
		return nil, fault.New(fault.Invalid, "option idmap needs a user namespace or mappings of its own")
	}
	return b.c.UserNS, nil
}

func isDirectory(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// sameKind refuses to mount a directory on a file or a file on a directory, which the
// kernel would answer with no more than EINVAL.
func sameKind(target *os.File, directory bool) error {
	is, err := isDirectory(target)
	if err == nil && is != directory {
		return fault.New(fault.Invalid, "not a directory: are you trying to mount a directory onto a file (or vice-versa)?")
	}
	return err
}

// attach resolves a.object, creating it where it is missing, and records a. From then
// on, paths below it are resolved in it.
func (b *builder) attach(a attachment, directory bool) error {
	proc := a.fstype == "proc"
	if path.Clean("/"+a.object) == procPath {
		if err := a.checkProc(); err != nil {
			return err
		}
		proc = true
	}
	t, err := b.trees.resolve(a.object)
	if err != nil {
		return err
	}
	at := t.path()
	if at == "/" {
		return fault.New(fault.Invalid, "the destination is the root directory")
	}
	if err := checkInProc(a.object, t); err != nil {
		return err
	}
	if t.tree.root == nil {
		a.in, a.inside = t.tree.made, t.inside
	} else {
		make := t.place.Create
		if directory {
			make = t.place.Mkdir
		}
		missing := len(t.place.Missing) > 0
		if a.pin, err = make(0o755, b.rootUID, b.rootGID); err != nil {
			return err
		}
		b.keep(a.pin)
		if !missing {
			if err := sameKind(a.pin, directory); err != nil {
				return err
			}
		}
	}
	b.attachments = append(b.attachments, a)
	b.trees = append(b.trees, &tree{at: at, root: a.source, made: len(b.attachments) - 1, proc: proc})
	return nil
}

// mountInit puts the static init where docker has it.
func (b *builder) mountInit() error {
	if b.rt.initPath == "" {
		return errNoInit
	}
	options := []string{"bind", "ro"}
	if b.c.UserNS != nil {
		options = append(options, "idmap")
	}
	m := specs.Mount{Destination: initPath, Source: b.rt.initPath, Options: options}
	if err := b.mount(m); err != nil {
		return fmt.Errorf("cannot mount %s: %w", initPath, err)
	}
	return nil
}

var errNoInit = fault.New(fault.Invalid, "cannot use an init process: the runtime was given none")

// initPath is where the program that --init asks for is in the container.
const initPath = "/sbin/docker-init"
