package spec

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	"hoy/linux/caps"
)

type throttle struct {
	list        *[]*blkiodev.ThrottleDevice
	name, short string // in docker's words
}

func throttles(h *container.HostConfig) []throttle {
	return []throttle{
		{&h.BlkioDeviceReadBps, "BPS Block I/O read", "BPS read"},
		{&h.BlkioDeviceWriteBps, "BPS Block I/O write", "BPS write"},
		{&h.BlkioDeviceReadIOps, "IOPS Block read", "IOPS read"},
		{&h.BlkioDeviceWriteIOps, "IOPS Block write", "IOPS write"},
	}
}

func (v *validation) namespaces() error {
	c, h := v.c, v.h
	switch {
	case !h.IpcMode.Valid(), h.IpcMode.IsContainer() && h.IpcMode.Container() == "":
		return invalid("invalid IPC mode: %v", h.IpcMode)
	case !h.PidMode.Valid():
		return invalid("invalid PID mode: %v", h.PidMode)
	case !h.UTSMode.Valid():
		return invalid("invalid UTS mode: %v", h.UTSMode)
	case !h.UsernsMode.Valid():
		return invalid("invalid user namespace mode: %v", h.UsernsMode)
	case !h.CgroupnsMode.Valid():
		return invalid("invalid cgroup namespace mode: %v", h.CgroupnsMode)
	case h.UTSMode.IsHost() && c.Hostname != "":
		return invalid("conflicting options: hostname and the UTS mode")
	case h.UTSMode.IsHost() && c.Domainname != "":
		return invalid("conflicting options: domainname and the UTS mode")
	case h.ShmSize < 0:
		return invalid("SHM size can not be less than 0")
	case h.Cgroup != "":
		return invalid("invalid cgroup %q: a container has a cgroup of its own; --cgroup-parent puts several below one", h.Cgroup)
	}
	if h.CgroupnsMode.IsPrivate() && !v.host.CgroupNamespaces {
		v.warn("Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.")
		h.CgroupnsMode = container.CgroupnsModeHost
	}
	if v.host.UserNamespace && h.UsernsMode.IsPrivate() {
		return v.userNamespace()
	}
	return nil
}

// userNamespace refuses what would need privileges over the host's namespaces.
func (v *validation) userNamespace() error {
	h := v.h
	switch {
	case h.Privileged:
		return invalid("privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode")
	case h.NetworkMode.IsHost():
		return invalid("cannot share the host's network namespace when user namespaces are enabled")
	case h.PidMode.IsHost():
		return invalid("cannot share the host PID namespace when user namespaces are enabled")
	}
	return nil
}

func (v *validation) devices() error {
	h := v.h
	for _, d := range h.Devices {
		switch {
		case !strings.HasPrefix(d.PathOnHost, "/"):
			return invalid("invalid device %q: the path on the host must be absolute", d.PathOnHost)
		case d.PathInContainer != "" && !strings.HasPrefix(d.PathInContainer, "/"):
			return invalid("invalid device %q: the path in the container must be absolute", d.PathInContainer)
		case strings.Trim(d.CgroupPermissions, "rwm") != "" || len(d.CgroupPermissions) > 3:
			return invalid("invalid device mode: %s", d.CgroupPermissions)
		}
	}
	for _, r := range h.DeviceCgroupRules {
		if _, err := parseDeviceRule(r); err != nil {
			return err
		}
	}
	if !v.host.CgroupDevices && (len(h.Devices) > 0 || len(h.DeviceCgroupRules) > 0) {
		v.warn("Your kernel does not support cgroup devices or the cgroup is not mounted. Device permissions discarded.")
	}
	return nil
}

func (v *validation) security() error {
	opt, err := parseSecurity(v.h)
	if err != nil {
		return err
	}
	if _, err := caps.Tweak(caps.Default(), v.h.CapAdd, v.h.CapDrop, v.h.Privileged); err != nil {
		return invalid("%w", err)
	}
	custom := func(value string) bool { return value != "" && value != "unconfined" && value != "builtin" }
	if custom(opt.seccomp) && !v.host.Seccomp {
		return invalid("seccomp is not enabled in your kernel, cannot run a custom seccomp profile")
	}
	if custom(opt.apparmor) && !v.host.AppArmor {
		v.warn("Your kernel does not support AppArmor. AppArmor profile %s discarded.", opt.apparmor)
	}
	for _, l := range opt.labels {
		if err := v.label(l); err != nil {
			return err
		}
	}
	if opt.writableCgroups != nil && v.host.UserNamespace && v.h.UsernsMode.IsPrivate() {
		return invalid("option WritableCgroups conflicts with user namespaces and rootless mode")
	}
	return nil
}

func (v *validation) label(l string) error {
	if l == "disable" {
		return nil
	}
	key, value, _ := strings.Cut(l, ":")
	if value == "" || !slices.Contains([]string{"user", "role", "type", "level", "filetype"}, key) {
		return invalid("bad label option %q, valid options 'disable' or 'user, role, level, type, filetype' followed by ':' and a value", l)
	}
	if !v.host.SELinux {
		v.warn("Your kernel does not support SELinux. Label %s discarded.", l)
	}
	return nil
}

// sysctls refuses settings that would be the host's (sysctl(2)).
func (v *validation) sysctls() error {
	h := v.h
	for name, value := range h.Sysctls {
		name := strings.ReplaceAll(name, "/", ".")
		switch {
		case name == "" || strings.Contains(name, "..") || strings.ContainsAny(name+value, "\x00\n"):
			return invalid("invalid sysctl %q", name)
		case ipcSysctl(name):
			if h.IpcMode.IsHost() {
				return invalid("sysctl %q is not allowed in the hosts ipc namespace", name)
			}
		case strings.HasPrefix(name, "net."):
			if h.NetworkMode.IsHost() {
				return invalid("sysctl %q not allowed in host network namespace", name)
			}
		case name == "kernel.domainname":
			if h.UTSMode.IsHost() {
				return invalid("sysctl %q is not allowed in the hosts uts namespace", name)
			}
		case name == "kernel.hostname":
			return invalid("sysctl %q is not allowed as it conflicts with the OCI %q field", name, "hostname")
		default:
			return invalid("sysctl %q is not in a separate kernel namespace", name)
		}
	}
	return nil
}

func (v *validation) process() error {
	h := v.h
	if h.OomScoreAdj < -1000 || h.OomScoreAdj > 1000 {
		return invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", h.OomScoreAdj)
	}
	if h.Umask != nil && *h.Umask > 0o777 {
		return invalid("invalid umask %#o: must be between 0 and 0777", *h.Umask)
	}
	for _, list := range [][]string{h.MaskedPaths, h.ReadonlyPaths} {
		for _, p := range list {
			if !strings.HasPrefix(p, "/") || strings.Contains(p, "\x00") {
				return invalid("invalid masked or read-only path %q: must be absolute", p)
			}
		}
	}
	for _, g := range h.GroupAdd {
		if g == "" {
			return invalid("invalid group: the empty string is not a group")
		}
	}
	if _, empty := h.Annotations[""]; empty {
		return invalid("invalid Annotations: the empty string is not permitted as an annotation key")
	}
	if err := checkCgroupParent(h.CgroupParent); err != nil {
		return err
	}
	if r := h.Runtime; !v.host.Runtimes.Known(r) {
		return invalid("unknown or invalid runtime name: %s", r)
	}
	return nil
}

// checkCgroupParent refuses what can be no path of a cgroup. The container's own is below it.
func checkCgroupParent(path string) error {
	const longest, name = 3 << 10, 255
	if len(path) > longest {
		return invalid("invalid cgroup-parent: its %d bytes are more than %d", len(path), longest)
	}
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "..":
			return invalid("invalid cgroup-parent %q: must not contain ..", path)
		case len(part) > name:
			return invalid("invalid cgroup-parent: a name in it has %d bytes, more than %d", len(part), name)
		case strings.ContainsAny(part, "\x00\n"):
			return invalid("invalid cgroup-parent %q: must not contain a NUL byte or a line end", path)
		}
	}
	return nil
}
