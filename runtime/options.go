package runtime

import (
	"strings"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/mount"
)

// attributes are what a mount's options say about the mount itself and about its
// file system's instance.
type attributes struct {
	set, clear         uint64 // MOUNT_ATTR_*, this mount
	recSet, recClear   uint64 // MOUNT_ATTR_*, this mount and all below it
	propagation        uint64
	propagateRecursive bool
	bind, recursive    bool
	idmap, recIdmap    bool
	data               []mount.Option // for the file system
}

// attrOptions are the options that set or clear one attribute. Each also exists with
// an "r" in front, which means this mount and all below it.
var attrOptions = map[string]struct{ set, clear uint64 }{
	"ro":            {set: unix.MOUNT_ATTR_RDONLY},
	"rw":            {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid":        {set: unix.MOUNT_ATTR_NOSUID},
	"suid":          {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev":         {set: unix.MOUNT_ATTR_NODEV},
	"dev":           {clear: unix.MOUNT_ATTR_NODEV},
	"noexec":        {set: unix.MOUNT_ATTR_NOEXEC},
	"exec":          {clear: unix.MOUNT_ATTR_NOEXEC},
	"nodiratime":    {set: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":      {clear: unix.MOUNT_ATTR_NODIRATIME},
	"nosymfollow":   {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"symfollow":     {clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"noatime":       {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime":   {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"relatime":      {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"atime":         {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"norelatime":    {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"nostrictatime": {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
}

var propagationOptions = map[string]uint64{
	"private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE,
	"shared": unix.MS_SHARED, "unbindable": unix.MS_UNBINDABLE,
}

// instanceFlags are flags of a file system's instance that every file system takes.
var instanceFlags = map[string]bool{
	"sync": true, "dirsync": true, "lazytime": true, "mand": true, "silent": true,
}

// parseOptions reads the options of an OCI mount.
func parseOptions(options []string) (attributes, error) {
	var a attributes
	for _, o := range options {
		if a.takeFlag(o) {
			continue
		}
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "", "defaults", "async", "nolazytime", "loud", "nomand":
			// what a mount is without any option
		case "tmpcopyup":
			return a, fault.New(fault.NotImplemented, "mount option tmpcopyup is not supported")
		default:
			a.data = append(a.data, mount.Option{Key: key, Value: value})
		}
	}
	return a, nil
}

// takeFlag takes an option that has no value; it returns false for any other.
func (a *attributes) takeFlag(o string) bool {
	if f, ok := attrOptions[o]; ok {
		a.set, a.clear = a.set&^f.clear|f.set, a.clear&^f.set|f.clear
		return true
	}
	rest, recursive := strings.CutPrefix(o, "r")
	if f, ok := attrOptions[rest]; ok && recursive {
		a.recSet, a.recClear = a.recSet&^f.clear|f.set, a.recClear&^f.set|f.clear
		return true
	}
	if p, ok := propagationOptions[o]; ok {
		a.propagation, a.propagateRecursive = p, false
		return true
	}
	if p, ok := propagationOptions[rest]; ok && recursive {
		a.propagation, a.propagateRecursive = p, true
		return true
	}
	switch o {
	case "bind":
		a.bind = true
	case "rbind":
		a.bind, a.recursive = true, true
	case "idmap":
		a.idmap = true
	case "ridmap":
		a.idmap, a.recIdmap = true, true
	default:
		if instanceFlags[o] {
			a.data = append(a.data, mount.Option{Key: o})
			return true
		}
		return false
	}
	return true
}
