package server

import (
	"bytes"
	"io"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"hoy/container"
	"hoy/lib/fault"
)

// createBody is the body of a create call with the fields that old versions had.
type createBody struct {
	apicontainer.CreateRequest
	legacy legacyCreate
}

// legacyCreate is read on its own: a field of HostConfig that is gone cannot
// stand beside the present ones.
type legacyCreate struct {
	MacAddress network.HardwareAddr // of the container; since 1.44 of an endpoint, refused since 1.52
	HostConfig struct{ Capabilities []string }
}

// decode reads the body, twice only for a client that may mean the old fields.
func (b *createBody) decode(body io.Reader, v version) error {
	data, err := io.ReadAll(body)
	if err != nil {
		return fault.New(fault.Invalid, "cannot read the request's body: %w", err)
	}
	if len(data) == 0 {
		return fault.New(fault.Invalid, "invalid JSON: %w", io.EOF)
	}
	if err := decodeJSON(bytes.NewReader(data), &b.CreateRequest); err != nil {
		return err
	}
	if v >= 52 && !bytes.Contains(data, []byte(`"MacAddress"`)) {
		return nil
	}
	return decodeJSON(bytes.NewReader(data), &b.legacy)
}

func containerCreate(r *request) response {
	var b createBody
	if r.ContentLength == 0 { // of unknown length it is decode that finds it empty
		return failure{fault.New(fault.Invalid, "invalid JSON: %w", io.EOF)}
	}
	if err := r.json(func(body io.Reader) error { return b.decode(body, r.version) }); err != nil {
		return failure{err}
	}
	if err := b.complete(); err != nil {
		return failure{err}
	}
	warnings, err := b.adapt(r.version)
	if err != nil {
		return failure{err}
	}
	p, err := r.platformSince(41)
	if err != nil {
		return failure{err}
	}
	answer, err := r.server.Containers.Create(r.Context(), container.CreateRequest{
		Name:             r.value("name"),
		Platform:         p,
		ShallowReadOnly:  r.version < 44,
		HostCgroupns:     r.version < 41,
		Config:           b.Config,
		HostConfig:       b.HostConfig,
		NetworkingConfig: b.NetworkingConfig,
	})
	if err != nil {
		return failure{err}
	}
	answer.Warnings = append(answer.Warnings, warnings...)
	if answer.Warnings == nil {
		answer.Warnings = []string{} // clients expect a list
	}
	return created(answer)
}

// complete fills in what the backend expects to be there.
func (b *createBody) complete() error {
	if b.Config == nil {
		return fault.New(fault.Invalid, "config cannot be empty in order to create a container")
	}
	if b.HostConfig == nil {
		b.HostConfig = &apicontainer.HostConfig{}
	}
	if b.HostConfig.PortBindings == nil {
		b.HostConfig.PortBindings = network.PortMap{} // as clients are shown it
	}
	if b.NetworkingConfig == nil {
		b.NetworkingConfig = &network.NetworkingConfig{}
	}
	for name, e := range b.NetworkingConfig.EndpointsConfig {
		if e == nil {
			b.NetworkingConfig.EndpointsConfig[name] = &network.EndpointSettings{}
		}
	}
	// "default" is the client's word for the bridge.
	if mode := &b.HostConfig.NetworkMode; *mode == "" || mode.IsDefault() {
		*mode = network.NetworkBridge
		if e, set := b.NetworkingConfig.EndpointsConfig[network.NetworkDefault]; set {
			b.NetworkingConfig.EndpointsConfig[network.NetworkBridge] = e
			delete(b.NetworkingConfig.EndpointsConfig, network.NetworkDefault)
		}
	}
	return nil
}

// adapt gives the request the meaning it had in the client's version.
func (b *createBody) adapt(v version) (warnings []string, err error) {
	h := b.HostConfig
	if v == 40 && len(b.legacy.HostConfig.Capabilities) > 0 {
		return nil, fault.New(fault.Invalid, "Capabilities are not supported: use CapAdd and CapDrop")
	}
	if v < 40 && h.IpcMode == "" {
		h.IpcMode = apicontainer.IPCModeShareable
	}
	if v < 42 {
		h.ConsoleSize = [2]uint{}
	}
	if v < 43 {
		h.Annotations = nil
	}
	if v < 44 && b.Config.Healthcheck != nil {
		b.Config.Healthcheck.StartInterval = 0
	}
	if v < 44 && len(b.NetworkingConfig.EndpointsConfig) > 1 {
		return nil, fault.New(fault.Invalid, "Container cannot be created with multiple network endpoints: %s", strings.Join(b.networks(), ", "))
	}
	if v < 48 {
		for _, e := range b.NetworkingConfig.EndpointsConfig {
			e.GwPriority = 0
		}
	}
	if v < 56 {
		h.Umask = nil
	}
	for i := range h.Mounts {
		if err := adaptMount(&h.Mounts[i], v); err != nil {
			return nil, err
		}
	}
	warnings, err = b.adaptMAC(v)
	return append(warnings, warnUnplaced(h.PortBindings, v)...), err
}

// warnUnplaced tells of ports without a place, as dockerd does since 1.52.
func warnUnplaced(ports network.PortMap, v version) []string {
	unplaced := container.Unplaced(ports)
	if v < 52 || unplaced == nil {
		return nil
	}
	return []string{"Following container port(s) have an empty list of port-bindings: " + strings.Join(unplaced, ", ") + ". Such bindings will be discarded in a future version."}
}

func adaptMount(m *mount.Mount, v version) error {
	if v < 40 && m.BindOptions != nil {
		m.BindOptions.NonRecursive = false
	}
	switch {
	case v < 42 && m.Type != mount.TypeVolume && m.VolumeOptions != nil:
		m.VolumeOptions = nil // was not checked then
	case v < 44 && m.BindOptions != nil && m.BindOptions.ReadOnlyForceRecursive:
		return fault.New(fault.Invalid, "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
	case v < 45 && m.VolumeOptions != nil && m.VolumeOptions.Subpath != "":
		return fault.New(fault.Invalid, "VolumeOptions.Subpath needs API v1.45 or newer")
	case v < 48 && m.Type == mount.TypeImage:
		return fault.New(fault.Invalid, `Mount type "Image" needs API v1.48 or newer`)
	}
	if v < 42 && m.Type != mount.TypeTmpfs {
		m.TmpfsOptions = nil
	}
	if v < 42 && m.BindOptions != nil {
		m.BindOptions.CreateMountpoint = false
	}
	return nil
}

// adaptMAC moves the container's hardware address to its network's endpoint.
func (b *createBody) adaptMAC(v version) (warnings []string, err error) {
	mode := b.HostConfig.NetworkMode
	own := mode.IsBridge() || mode.IsUserDefined()
	switch {
	case v < 44 && len(b.legacy.MacAddress) == 0:
		for _, e := range b.NetworkingConfig.EndpointsConfig {
			e.MacAddress = nil // did not exist then
		}
		return nil, nil
	case len(b.legacy.MacAddress) == 0:
		return nil, nil
	case v >= 52:
		return nil, fault.New(fault.Invalid, "container-wide MAC address no longer supported; use endpoint-specific MAC address instead")
	case v < 44 && !own:
		return nil, fault.New(fault.Invalid, "conflicting options: mac-address and the network mode")
	}
	if own {
		e := b.endpoint(mode.NetworkName())
		if v >= 44 && len(e.MacAddress) > 0 && !slices.Equal(e.MacAddress, b.legacy.MacAddress) {
			return nil, fault.New(fault.Invalid, "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty")
		}
		e.MacAddress = b.legacy.MacAddress
	}
	if v >= 44 {
		warnings = []string{"The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."}
	}
	return warnings, nil
}

// endpoint returns the settings for the named network, made when missing.
func (b *createBody) endpoint(name string) *network.EndpointSettings {
	n := b.NetworkingConfig
	if n.EndpointsConfig == nil {
		n.EndpointsConfig = map[string]*network.EndpointSettings{}
	}
	if n.EndpointsConfig[name] == nil {
		n.EndpointsConfig[name] = &network.EndpointSettings{}
	}
	return n.EndpointsConfig[name]
}

func (b *createBody) networks() []string {
	var names []string
	for name := range b.NetworkingConfig.EndpointsConfig {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
