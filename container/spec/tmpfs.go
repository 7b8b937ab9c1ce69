package spec

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/mount"

	"hoy/lib/fault"
)

// tmpfsFlag gives, for a mount flag a tmpfs takes, what it overrides.
func tmpfsFlag(o string) (overrides string, ok bool) {
	for _, pair := range [][2]string{
		{"ro", "rw"}, {"suid", "nosuid"}, {"dev", "nodev"}, {"exec", "noexec"}, {"sync", "async"},
		{"atime", "noatime"}, {"diratime", "nodiratime"}, {"relatime", "norelatime"}, {"strictatime", "nostrictatime"},
		{"remount", "remount"}, {"dirsync", "dirsync"}, {"mand", "nomand"}, {"defaults", "defaults"},
		{"rprivate", ""}, {"private", ""}, {"rshared", ""}, {"shared", ""}, {"rslave", ""}, {"slave", ""}, {"unbindable", ""}, {"runbindable", ""},
	} {
		switch o {
		case pair[0]:
			return pair[1], true
		case pair[1]:
			return pair[0], pair[1] != ""
		}
	}
	return "", false
}

// checkTmpfs refuses options a tmpfs does not have.
func checkTmpfs(options []string) error {
	for _, o := range options {
		if _, ok := tmpfsFlag(o); ok {
			continue
		}
		key, value, hasValue := strings.Cut(o, "=")
		switch key {
		case "size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol":
			if !hasValue || value == "" {
				return fault.New(fault.Invalid, "invalid tmpfs option %q", o)
			}
		default:
			return fault.New(fault.Invalid, "invalid tmpfs option %q", o)
		}
	}
	return nil
}

// mergeTmpfs keeps the last of options that contradict each other, in the order
// in which they were given.
func mergeTmpfs(options []string) []string {
	var merged []string
	for i, o := range options {
		overrides, _ := tmpfsFlag(o)
		key, _, hasValue := strings.Cut(o, "=")
		later := func(l string) bool {
			k, _, _ := strings.Cut(l, "=")
			return l == o || overrides != "" && l == overrides || hasValue && k == key
		}
		if o != "defaults" && !slices.ContainsFunc(options[i+1:], later) {
			merged = append(merged, o)
		}
	}
	return merged
}

// tmpfsOptions are the options of a --mount type=tmpfs as mount options.
func tmpfsOptions(o *mount.TmpfsOptions) ([]string, error) {
	if o == nil {
		return nil, nil
	}
	var list []string
	if o.Mode != 0 {
		list = append(list, "mode="+strconv.FormatUint(uint64(o.Mode), 8))
	}
	if o.SizeBytes < 0 {
		return nil, fault.New(fault.Invalid, "invalid tmpfs size %d", o.SizeBytes)
	}
	if o.SizeBytes > 0 {
		list = append(list, "size="+strconv.FormatInt(o.SizeBytes, 10))
	}
	for _, pair := range o.Options {
		if len(pair) < 1 || len(pair) > 2 {
			return nil, fault.New(fault.Invalid, "invalid option array length")
		}
		if pair[0] != "exec" && pair[0] != "noexec" || len(pair) == 2 {
			return nil, fault.New(fault.Invalid, "invalid option: %s", strings.Join(pair, "="))
		}
		list = append(list, pair[0])
	}
	return list, nil
}
