package spec

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
	"hoy/linux/idmap"
)

// standard are the file systems every container has. shm's size comes after.
func standard() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777"}},
	}
}

// mounts lists all file systems in the order of mounting: the standard ones
// the user does not replace, then the user's, parents before children.
func mounts(in *Input, opt security) ([]specs.Mount, error) {
	wanted := requested(in)
	own := make(map[string]bool, len(wanted))
	for _, m := range wanted {
		own[m.Destination] = true
	}
	var list []specs.Mount
	for _, m := range standard() {
		switch {
		case own[m.Destination], own["/dev"] && strings.HasPrefix(m.Destination, "/dev/"):
			continue
		case m.Destination == "/dev/shm" && in.HostConfig.IpcMode.IsNone():
			continue
		case m.Destination == "/dev/shm":
			m.Options = append(m.Options, "size="+strconv.FormatInt(in.HostConfig.ShmSize, 10))
		}
		adapt(&m, in, opt)
		list = append(list, m)
	}
	for _, m := range wanted {
		made, err := userMount(m, in)
		if err != nil {
			return nil, err
		}
		list = append(list, made)
	}
	return list, nil
}

// adapt makes the standard mount m read-only or writable by the container's options.
func adapt(m *specs.Mount, in *Input, opt security) {
	switch {
	case m.Destination == "/sys" && in.HostConfig.Privileged:
		m.Options = without(m.Options, "ro")
	case m.Type == "cgroup" && writableCgroups(in, opt):
		m.Options = without(m.Options, "ro")
	}
}

// writableCgroups says whether the container may write its own groups. In a
// user namespace the flag cannot be held; the kernel's delegation rules are.
func writableCgroups(in *Input, opt security) bool {
	if in.Host.UserNamespace && in.HostConfig.UsernsMode.IsPrivate() {
		return true
	}
	if opt.writableCgroups != nil {
		return *opt.writableCgroups
	}
	return in.HostConfig.Privileged
}

// requested is the user's mounts and the files of /etc the user does not mount.
func requested(in *Input) []Mount {
	list := slices.Clone(in.Mounts)
	add := func(source, destination string) {
		taken := slices.ContainsFunc(in.Mounts, func(m Mount) bool { return m.Destination == destination })
		if source != "" && !taken {
			// Read-only with the root: docker's rule, so that --read-only means it.
			list = append(list, Mount{Type: "bind", Source: source, Destination: destination, ReadOnly: in.HostConfig.ReadonlyRootfs})
		}
	}
	add(in.ResolvConf, "/etc/resolv.conf")
	add(in.HostnameFile, "/etc/hostname")
	add(in.HostsFile, "/etc/hosts")
	if in.ShmPath != "" && !in.HostConfig.IpcMode.IsNone() {
		list = append(list, Mount{Type: "bind", Source: in.ShmPath, Destination: "/dev/shm"})
	}
	slices.SortStableFunc(list, func(a, b Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	return list
}

func userMount(m Mount, in *Input) (specs.Mount, error) {
	if m.Type == "tmpfs" {
		options := mergeTmpfs(append([]string{"noexec", "nosuid", "nodev"}, m.Options...))
		if m.ReadOnly {
			options = append(without(options, "rw"), "ro")
		}
		return specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs", Options: options}, nil
	}
	bind := "rbind"
	if m.NonRecursive {
		bind = "bind"
	}
	options := []string{bind}
	if m.ReadOnly {
		ro, err := readOnly(m, in.Host)
		if err != nil {
			return specs.Mount{}, err
		}
		options = append(options, ro)
	}
	if m.MapIDs && m.IDs == nil {
		options = append(options, "idmap")
	}
	propagation := m.Propagation
	if propagation == "" {
		propagation = "rprivate"
	}
	made := specs.Mount{Destination: m.Destination, Type: "bind", Source: m.Source, Options: append(options, propagation)}
	if m.IDs != nil {
		made.UIDMappings, made.GIDMappings = Mappings(m.IDs.UIDs), Mappings(m.IDs.GIDs)
	}
	return made, nil
}

// Mappings are ranges as the specification of runtimes has them.
func Mappings(ranges []idmap.Range) []specs.LinuxIDMapping {
	l := make([]specs.LinuxIDMapping, len(ranges))
	for i, r := range ranges {
		l[i] = specs.LinuxIDMapping{ContainerID: r.Inside, HostID: r.Outside, Size: r.Size}
	}
	return l
}

// Ranges undoes Mappings.
func Ranges(mappings []specs.LinuxIDMapping) []idmap.Range {
	l := make([]idmap.Range, len(mappings))
	for i, m := range mappings {
		l[i] = idmap.Range{Inside: m.ContainerID, Outside: m.HostID, Size: m.Size}
	}
	return l
}

// readOnly chooses the option that makes m read-only: with all that is mounted
// below it, unless the user or the kernel says otherwise.
func readOnly(m Mount, host Host) (string, error) {
	switch {
	case m.ReadOnlyNonRecursive && m.ReadOnlyForceRecursive:
		return "", fault.New(fault.Invalid, "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
	case m.ReadOnlyForceRecursive && !host.RecursiveReadOnly:
		return "", fault.New(fault.Invalid, "cannot mount %s recursively read-only: the kernel does not support it", m.Destination)
	case m.ReadOnlyNonRecursive, !host.RecursiveReadOnly:
		return "ro", nil
	}
	return "rro", nil
}

// rootPropagation keeps the root's mount from cutting off what a shared or
// slave mount below it is to receive.
func rootPropagation(list []Mount) string {
	result := ""
	for _, m := range list {
		switch m.Propagation {
		case "shared", "rshared":
			return "shared"
		case "slave", "rslave":
			result = "rslave"
		}
	}
	return result
}

func without(options []string, drop string) []string {
	return slices.DeleteFunc(options, func(o string) bool { return o == drop })
}
