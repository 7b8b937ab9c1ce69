// Package spec turns docker's container options into an OCI runtime specification.
//
// Validate takes a create request apart: every field is honoured, refused with
// a reason, or dropped with a warning (fields.go lists which). Build then makes
// the specification from the accepted options and from what the caller has
// looked up: the user in the container's files, the sources of mounts, device
// numbers, namespaces to join. Nothing here opens a file, so that the whole of
// it is tested as data.
package spec

import (
	"path"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/linux/caps"
)

// Build makes the specification of a container whose options passed Validate.
// The parts that are left to the runtime are those the OCI specification gives
// it, the default device nodes and /dev's links, and the init (UsesInit).
func Build(in Input) (*specs.Spec, error) {
	opt, err := parseSecurity(in.HostConfig)
	if err != nil {
		return nil, err
	}
	held, err := caps.Tweak(caps.Default(), in.HostConfig.CapAdd, in.HostConfig.CapDrop, in.HostConfig.Privileged)
	if err != nil {
		return nil, err
	}
	process, err := process(&in, held)
	if err != nil {
		return nil, err
	}
	mounts, err := mounts(&in, opt)
	if err != nil {
		return nil, err
	}
	resources, err := resources(&in)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version:     specs.Version,
		Process:     process,
		Root:        &specs.Root{Readonly: in.HostConfig.ReadonlyRootfs},
		Mounts:      mounts,
		Annotations: in.HostConfig.Annotations,
		Linux: &specs.Linux{
			Namespaces:        namespaces(&in),
			CgroupsPath:       in.CgroupPath,
			Resources:         resources,
			Devices:           deviceNodes(in.Devices),
			Sysctl:            sysctls(&in),
			MaskedPaths:       in.HostConfig.MaskedPaths,
			ReadonlyPaths:     in.HostConfig.ReadonlyPaths,
			RootfsPropagation: rootPropagation(in.Mounts),
		},
	}
	if !in.HostConfig.UTSMode.IsHost() {
		s.Hostname = in.Hostname
		s.Domainname = in.Config.Domainname
	}
	return s, secure(s, &in, opt, held)
}

// CgroupPath is where container id lives below parent, the container's own
// --cgroup-parent or else the engine's. It never climbs out of the hierarchy.
func CgroupPath(parent, engine, id string) string {
	if parent == "" {
		parent = engine
	}
	return path.Join("/", parent, id)
}

// deviceNodes copies the nodes out of the devices.
func deviceNodes(devices []Device) []specs.LinuxDevice {
	nodes := make([]specs.LinuxDevice, 0, len(devices))
	for _, d := range devices {
		nodes = append(nodes, d.LinuxDevice)
	}
	return slices.Clip(nodes)
}
