package build

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/container/spec"
	"hoy/network"
	"hoy/runtime"
)

// defaultHostname is the name of a step's machine that asks for no other.
const defaultHostname = "buildkitsandbox"

// specification makes the step's OCI specification: that of a container of docker's that
// is told nothing else, with the mounts, the environment and the limits of the step.
func (s *execution) specification(dir string, own []specs.Mount, readonly bool) (*specs.Spec, error) {
	o, meta := s.e.o, &s.p.Meta
	in := spec.Input{
		ID: s.id, Hostname: cmp.Or(meta.Hostname, defaultHostname), Host: o.Host,
		Config:     &container.Config{Cmd: meta.Args, Env: meta.Env, WorkingDir: meta.Cwd, Tty: meta.Tty},
		HostConfig: s.hostConfig(readonly),
		CgroupPath: spec.CgroupPath(meta.CgroupParent, o.CgroupParent, s.id),
	}
	in.HostConfig.Resources = s.limits()
	if _, err := spec.Validate(in.Config, in.HostConfig, nil, o.Host); err != nil {
		return nil, err
	}
	if o.Host.Seccomp {
		in.Seccomp, in.SeccompProfile = s.e.seccomp, o.SeccompProfile
	}
	var err error
	if in.User, in.Home, err = runtime.LookupUser(s.root, meta.User, nil); err != nil {
		return nil, err
	}
	if s.privileged() {
		in.Devices = insecureDevices()
	}
	if err := s.etc(&in, dir); err != nil {
		return nil, err
	}
	made, err := spec.Build(in)
	if err != nil {
		return nil, err
	}
	made.Process.Env = environment(meta.Env, in.Home, meta.Tty)
	made.Mounts = arrange(made.Mounts, own)
	if m := o.UserMap; m != nil && !s.privileged() {
		made.Linux.UIDMappings, made.Linux.GIDMappings = spec.Mappings(m.UIDs), spec.Mappings(m.GIDs)
	}
	return made, nil
}

// hostConfig is what of the options of a container a step can have.
func (s *execution) hostConfig(readonly bool) *container.HostConfig {
	meta := &s.p.Meta
	h := &container.HostConfig{ReadonlyRootfs: readonly || meta.ReadonlyRootFS, Privileged: s.privileged()}
	switch meta.NetMode {
	case pb.NetMode_HOST:
		h.NetworkMode = "host"
	case pb.NetMode_NONE:
		h.NetworkMode = "none"
	}
	if s.privileged() && s.e.o.UserMap != nil {
		h.UsernsMode = "host"
	}
	return h
}

func (s *execution) limits() (r container.Resources) {
	if l := s.p.Meta.LinuxResources; l != nil {
		r.Memory, r.MemorySwap = l.Memory, l.MemorySwap
		r.CPUShares, r.CPUPeriod, r.CPUQuota = int64(l.CpuShares), int64(l.CpuPeriod), l.CpuQuota
		r.CpusetCpus, r.CpusetMems = l.CpusetCpus, l.CpusetMems
	}
	for _, u := range s.p.Meta.Ulimit {
		r.Ulimits = append(r.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return r
}

// environment is the step's own: BuildKit names all that there is, but not HOME.
func environment(env []string, home string, tty bool) []string {
	has := func(name string) bool {
		return slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	}
	env = slices.Clone(env)
	if !has("HOME") {
		env = append(env, "HOME="+cmp.Or(home, "/"))
	}
	if tty && !has("TERM") {
		env = append(env, "TERM=xterm")
	}
	return env
}

// etc writes the step's /etc/hosts and /etc/resolv.conf, which it reads only.
func (s *execution) etc(in *spec.Input, dir string) error {
	meta := &s.p.Meta
	hosts := network.Hosts(nil, false)
	resolv := s.e.o.Resolve.Isolated(true)
	if meta.NetMode == pb.NetMode_HOST {
		resolv = s.e.o.Resolve.OnHost()
	}
	hosts = append(hosts, fmt.Sprintf("127.0.0.1\t%s\n", in.Hostname)...)
	for _, h := range meta.ExtraHosts {
		addr, ok := netip.AddrFromSlice(h.IP)
		if !ok {
			return fmt.Errorf("cannot give a step the host %s: %q is no address", h.Host, h.IP)
		}
		hosts = fmt.Appendf(hosts, "%s\t%s\n", addr.Unmap(), h.Host)
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{"hosts", hosts}, {"resolv.conf", resolv}} {
		at := filepath.Join(dir, f.name)
		if err := os.WriteFile(at, f.content, 0o644); err != nil {
			return err
		}
		in.Mounts = append(in.Mounts, spec.Mount{
			Type: "bind", Source: at, Destination: "/etc/" + f.name, ReadOnly: true, NonRecursive: true, ReadOnlyNonRecursive: true, MapIDs: s.userNS() != nil,
		})
	}
	return nil
}

// arrange adds a step's mounts to a container's: each takes the place of one at the same
// destination, and is made after those that it is below.
func arrange(standard, own []specs.Mount) []specs.Mount {
	all := slices.DeleteFunc(standard, func(m specs.Mount) bool {
		return slices.ContainsFunc(own, func(o specs.Mount) bool { return o.Destination == m.Destination })
	})
	all = append(all, own...)
	slices.SortStableFunc(all, func(a, b specs.Mount) int {
		return cmp.Compare(depth(a.Destination), depth(b.Destination))
	})
	return all
}

func depth(p string) int { return strings.Count(strings.TrimSuffix(p, "/"), "/") }

// insecureDevices are the devices that RUN --security=insecure has, as with buildkitd,
// where the machine has them; it may make others.
func insecureDevices() []spec.Device {
	var list []spec.Device
	for _, d := range []specs.LinuxDevice{
		{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}, {Path: "/dev/cuse", Type: "c", Major: 10, Minor: 203},
		{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}, {Path: "/dev/kvm", Type: "c", Major: 10, Minor: 232},
		{Path: "/dev/net/tun", Type: "c", Major: 10, Minor: 200}, {Path: "/dev/loop-control", Type: "c", Major: 10, Minor: 237},
	} {
		list = append(list, spec.Device{LinuxDevice: d, Access: "rwm"})
	}
	for i := range int64(8) {
		list = append(list, spec.Device{LinuxDevice: specs.LinuxDevice{Path: fmt.Sprintf("/dev/loop%d", i), Type: "b", Major: 7, Minor: i}, Access: "rwm"})
	}
	return list
}
