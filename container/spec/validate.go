package spec

import (
	"cmp"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
)

// Validate checks every field of a create request, as it came, before the
// image's configuration is merged into it. What this host cannot do is reset in
// c, h and n and comes back as a warning; what makes no sense or isn't built is
// an error. Then it fills in docker's defaults, as inspect shows them. n may be nil.
func Validate(c *container.Config, h *container.HostConfig, n *network.NetworkingConfig, host Host) (warnings []string, err error) {
	if c == nil {
		return nil, fault.New(fault.Invalid, "config cannot be empty in order to create a container")
	}
	if h == nil {
		return nil, fault.New(fault.Invalid, "host config cannot be empty in order to create a container")
	}
	v := &validation{c: c, h: h, n: n, host: host}
	for _, check := range []func() error{
		v.config, v.health,
		v.memory, v.cpu, v.cpuset, v.blockIO, v.pids, v.ulimits, v.windows,
		v.namespaces, v.network, v.endpoints, v.resolver,
		v.devices, v.security, v.sysctls, v.process,
		v.mounts, v.lifecycle, v.log,
	} {
		if err := check(); err != nil {
			return v.warnings, err
		}
	}
	v.defaults()
	return v.warnings, nil
}

// validation is one request on its way through the checks.
type validation struct {
	c        *container.Config
	h        *container.HostConfig
	n        *network.NetworkingConfig
	host     Host
	update   bool // of a container that is there: h says what changes, c is nil
	warnings []string
}

func (v *validation) warn(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// defaults fills in what docker does, so that inspect shows what holds.
func (v *validation) defaults() {
	h := v.h
	if h.Memory > 0 && h.MemorySwap == 0 && v.host.SwapLimit {
		h.MemorySwap = 2 * h.Memory
	}
	if h.ShmSize == 0 {
		h.ShmSize = v.host.DefaultShmSize
	}
	if h.ShmSize == 0 {
		h.ShmSize = 64 << 20
	}
	if h.IpcMode.IsEmpty() {
		h.IpcMode = container.IPCModePrivate
		if v.host.IpcShareable {
			h.IpcMode = container.IPCModeShareable
		}
	}
	if h.CgroupnsMode.IsEmpty() {
		h.CgroupnsMode = container.CgroupnsModePrivate
		if !v.host.CgroupNamespaces || v.host.CgroupnsHost || h.Privileged && !v.host.CgroupV2 {
			h.CgroupnsMode = container.CgroupnsModeHost
		}
	}
	if h.OomKillDisable == nil {
		h.OomKillDisable = new(bool)
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if h.LogConfig.Type == "" {
		h.LogConfig.Type = v.logDriver()
	}
	if h.NetworkMode == "" || h.NetworkMode.IsDefault() {
		h.NetworkMode = network.NetworkBridge
	}
	if h.Runtime == "" {
		h.Runtime = cmp.Or(v.host.DefaultRuntime, "runc") // what info calls hoy's own
	}
	v.paths()
}

// paths fills in the masked and read-only paths. A privileged container has
// none; a request can give lists of its own, also empty ones.
func (v *validation) paths() {
	switch {
	case v.h.Privileged:
		v.h.MaskedPaths, v.h.ReadonlyPaths = nil, nil
		return
	case v.h.MaskedPaths == nil:
		v.h.MaskedPaths = maskedPaths(v.host.Thermal)
	}
	if v.h.ReadonlyPaths == nil {
		v.h.ReadonlyPaths = readonlyPaths()
	}
}
