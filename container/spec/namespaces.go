package spec

import (
	"maps"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// namespaces lists a namespace without a path when it is the container's own,
// with one when it is another container's, and leaves out the host's.
func namespaces(in *Input) []specs.LinuxNamespace {
	h := in.HostConfig
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if in.Host.UserNamespace && h.UsernsMode.IsPrivate() {
		list = append(list, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	if !h.NetworkMode.IsHost() {
		list = append(list, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: in.NetNS})
	}
	if !h.UTSMode.IsHost() {
		list = append(list, specs.LinuxNamespace{Type: specs.UTSNamespace})
	}
	if !h.PidMode.IsHost() {
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: in.PIDNS})
	}
	if !h.IpcMode.IsHost() {
		list = append(list, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: in.IPCNS})
	}
	if h.CgroupnsMode.IsPrivate() && in.Host.CgroupNamespaces {
		list = append(list, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return list
}

// sysctls are docker's defaults for a network namespace of the container's own
// and over them the requested ones. Unprivileged ping and low ports need no
// capability then.
func sysctls(in *Input) map[string]string {
	all := map[string]string{}
	if in.HostConfig.NetworkMode.IsPrivate() {
		// The group range is in the initial user namespace's ids.
		if !in.Host.UserNamespace || in.HostConfig.UsernsMode.IsHost() {
			all["net.ipv4.ping_group_range"] = "0 2147483647"
		}
		all["net.ipv4.ip_unprivileged_port_start"] = "0"
	}
	maps.Copy(all, in.HostConfig.Sysctls)
	return all
}

// ipcSysctls belong to the IPC namespace (sysctl(2), ipc_namespaces(7)).
func ipcSysctl(name string) bool {
	switch name {
	case "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
		"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced":
		return true
	}
	return strings.HasPrefix(name, "fs.mqueue.")
}
