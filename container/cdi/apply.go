package cdi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
)

// Apply makes the changes in a container's specification. host gives the node of a
// device file of this machine, for what the description leaves open.
func Apply(s *specs.Spec, list []Edits, host func(path string) (specs.LinuxDevice, error)) error {
	for _, e := range list {
		if len(e.NetDevices) > 0 || len(e.IntelRdt) > 0 {
			return fault.New(fault.NotImplemented, "CDI device injection failed: network devices and Intel RDT of CDI devices are not supported")
		}
		for _, env := range e.Env {
			setEnv(s, env)
		}
		for _, n := range e.DeviceNodes {
			if err := addNode(s, n, host); err != nil {
				return fault.New(fault.Invalid, "CDI device injection failed: %w", err)
			}
		}
		for _, m := range e.Mounts {
			addMount(s, m)
		}
		for _, h := range e.Hooks {
			if err := addHook(s, h); err != nil {
				return err
			}
		}
		for _, g := range e.Groups {
			if g != 0 && !slices.Contains(s.Process.User.AdditionalGids, g) {
				s.Process.User.AdditionalGids = append(s.Process.User.AdditionalGids, g)
			}
		}
	}
	return nil
}

func setEnv(s *specs.Spec, env string) {
	name, _, _ := strings.Cut(env, "=")
	s.Process.Env = slices.DeleteFunc(s.Process.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	s.Process.Env = append(s.Process.Env, env)
}

func addNode(s *specs.Spec, n DeviceNode, host func(string) (specs.LinuxDevice, error)) error {
	d := specs.LinuxDevice{Path: n.Path, Type: n.Type, Major: n.Major, Minor: n.Minor, FileMode: n.FileMode, UID: n.UID, GID: n.GID}
	if d.Type == "" || d.Type != "p" && d.Major == 0 {
		known, err := host(cmp.Or(n.HostPath, n.Path))
		if err != nil {
			return err
		}
		if d.Type != "" && d.Type != known.Type {
			return fmt.Errorf("device %s is of type %s, not %s", cmp.Or(n.HostPath, n.Path), known.Type, d.Type)
		}
		d.Type, d.Major, d.Minor = known.Type, known.Major, known.Minor
		if d.FileMode == nil {
			d.FileMode = known.FileMode
		}
	}
	// The container's user owns what the description gives to nobody.
	if uid := s.Process.User.UID; d.UID == nil && uid > 0 {
		d.UID = &uid
	}
	if gid := s.Process.User.GID; d.GID == nil && gid > 0 {
		d.GID = &gid
	}
	s.Linux.Devices = slices.DeleteFunc(s.Linux.Devices, func(o specs.LinuxDevice) bool { return o.Path == d.Path })
	s.Linux.Devices = append(s.Linux.Devices, d)
	if d.Type == "b" || d.Type == "c" {
		major, minor := d.Major, d.Minor
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices,
			specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: cmp.Or(n.Permissions, "rwm")})
	}
	return nil
}

// addMount puts a mount in the place of another at its destination, and behind those
// above it.
func addMount(s *specs.Spec, m Mount) {
	made := specs.Mount{Source: m.HostPath, Destination: m.ContainerPath, Type: cmp.Or(m.Type, "bind"), Options: m.Options}
	s.Mounts = slices.DeleteFunc(s.Mounts, func(o specs.Mount) bool { return o.Destination == made.Destination })
	s.Mounts = append(s.Mounts, made)
}

// addHook accepts what can be done before the container's processes are there.
func addHook(s *specs.Spec, h Hook) error {
	if h.Name != "createContainer" {
		return fault.New(fault.NotImplemented, "CDI device injection failed: hooks named %q are not supported, only createContainer", h.Name)
	}
	if s.Hooks == nil {
		s.Hooks = &specs.Hooks{}
	}
	s.Hooks.CreateContainer = append(s.Hooks.CreateContainer, specs.Hook{Path: h.Path, Args: h.Args, Env: h.Env, Timeout: h.Timeout})
	return nil
}
