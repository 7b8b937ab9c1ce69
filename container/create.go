package container

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apinetwork "github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/container/spec"
	"hoy/image"
	"hoy/lib/cleanup"
	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// Create makes a container: its name, writable layer, volumes and record. It
// changes r's Config and HostConfig, which become the container's.
func (c *Containers) Create(ctx context.Context, r CreateRequest) (apicontainer.CreateResponse, error) {
	no := apicontainer.CreateResponse{}
	if r.HostConfig == nil {
		r.HostConfig = &apicontainer.HostConfig{}
	}
	fillPlaces(r.HostConfig.PortBindings)
	host := c.host()
	if r.HostCgroupns && !host.CgroupV2 && r.HostConfig.CgroupnsMode.IsEmpty() {
		r.HostConfig.CgroupnsMode = apicontainer.CgroupnsModeHost
	}
	host.Subnets = c.subnets
	warnings, err := spec.Validate(r.Config, r.HostConfig, r.NetworkingConfig, host)
	if err != nil {
		return no, err
	}
	name := r.Name
	if name != "" {
		if name, err = checkName(name); err != nil {
			return no, err
		}
	}
	img, release, err := c.imageFor(ctx, r)
	if err != nil {
		return no, err
	}
	var held cleanup.Stack // images, until the record pins them
	defer held.Run()
	held.Add(release)
	rec, more, err := c.draft(r, img)
	if err != nil {
		return no, err
	}
	if err := c.holdImages(ctx, rec, &held); err != nil {
		return no, err
	}
	if err := c.make(rec, name); err != nil {
		return no, err
	}
	return apicontainer.CreateResponse{ID: rec.ID, Warnings: append(append([]string{}, warnings...), more...)}, nil
}

// imageFor finds the image and keeps its layers until the record pins them.
func (c *Containers) imageFor(ctx context.Context, r CreateRequest) (*image.Image, func(), error) {
	if r.Config.Image == "" {
		return nil, nil, fault.New(fault.Invalid, "no image specified")
	}
	return c.o.Images.Hold(ctx, r.Config.Image, r.Platform)
}

// draft makes the record of a container to be, without name.
func (c *Containers) draft(r CreateRequest, img *image.Image) (*record, []string, error) {
	if err := merge(r.Config, img.Config.Config); err != nil {
		return nil, nil, err
	}
	rec := &record{
		Version: recordVersion, ID: newID(), Created: time.Now().UTC(),
		Config: r.Config, Host: r.HostConfig,
		Image: imageRecord{ID: img.ID, Chain: img.ChainID, Layers: img.Layers, Platform: platformOf(img), Size: img.Unpacked},
		State: state{Status: apicontainer.StateCreated},
	}
	if img.Manifest.Digest != "" {
		manifest := img.Manifest
		manifest.Platform = &rec.Image.Platform
		rec.Image.Manifest = &manifest
	}
	var asked map[string]*apinetwork.EndpointSettings
	if r.NetworkingConfig != nil {
		asked = r.NetworkingConfig.EndpointsConfig
	}
	rec.Endpoints = c.endpointsFor(rec.Host.NetworkMode, asked)
	warnings, err := endpointWarnings(rec.Endpoints)
	if err != nil {
		return nil, nil, err
	}
	if err := c.pinDonors(rec.Host); err != nil {
		return nil, nil, err
	}
	if err := c.pinLinks(rec.Host); err != nil {
		return nil, nil, err
	}
	if err := c.nameHost(rec); err != nil {
		return nil, nil, err
	}
	c.logDefaults(rec.Host)
	taken, err := c.volumesFrom(rec.Host)
	if err != nil {
		return nil, nil, err
	}
	if rec.Mounts, err = mountPoints(rec.Config, rec.Host, taken, r.ShallowReadOnly); err != nil {
		return nil, nil, err
	}
	if err := c.propagate(rec.Mounts); err != nil {
		return nil, nil, err
	}
	warning, err := spec.OnUnhealthy(rec.Config, rec.Host)
	if err != nil {
		return nil, nil, err
	}
	if warning != "" {
		warnings = append(warnings, warning)
	}
	if own := (ocispec.Platform{OS: "linux", Architecture: goruntime.GOARCH}); r.Platform == nil && !samePlatform(own, rec.Image.Platform) {
		warnings = append(warnings, fmt.Sprintf("The requested image's platform (%s) does not match the detected host platform (%s) and no specific platform was requested",
			platformName(rec.Image.Platform), platformName(own)))
	}
	return rec, warnings, nil
}

// pinDonors names the containers whose namespaces are joined by their ids: names change.
// As docker has it, a network's may come to be before the start.
func (c *Containers) pinDonors(h *apicontainer.HostConfig) error {
	const prefix = "container:"
	if m := h.PidMode; m.IsContainer() {
		k, err := c.index.get(m.Container())
		if err != nil {
			return fault.New(fault.Invalid, "%w", err) // not found would mean the image to clients
		}
		h.PidMode = apicontainer.PidMode(prefix + k.id)
	}
	if m := h.IpcMode; m.IsContainer() {
		k, err := c.index.get(m.Container())
		if err != nil {
			return fault.New(fault.Invalid, "%w", err)
		}
		h.IpcMode = apicontainer.IpcMode(prefix + k.id)
	}
	if m := h.NetworkMode; m.IsContainer() {
		if k, err := c.index.get(m.ConnectedContainer()); err == nil {
			h.NetworkMode = apicontainer.NetworkMode(prefix + k.id)
		}
	}
	return nil
}

// nameHost gives the container the host name it will have; with another's network it is
// that one's, which may come to be before the start.
func (c *Containers) nameHost(rec *record) error {
	mode := rec.Host.NetworkMode
	switch {
	case rec.Config.Hostname != "" || mode.IsContainer():
	case mode.IsHost() || rec.Host.UTSMode.IsHost():
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("cannot find the host name: %w", err)
		}
		rec.Config.Hostname = name
	default:
		rec.Config.Hostname = rec.ID[:12]
	}
	return nil
}

// logDefaults completes the options of the engine's own log driver.
func (c *Containers) logDefaults(h *apicontainer.HostConfig) {
	driver := c.host().LogDriver
	if h.LogConfig.Type == driver || driver == "" && h.LogConfig.Type == "json-file" {
		h.LogConfig.Config = unite(h.LogConfig.Config, c.o.LogOptions)
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
}

// make brings a drafted container into being. Whoever loses the race for a name
// has made nothing.
func (c *Containers) make(rec *record, name string) error {
	var undo cleanup.Stack
	defer undo.Run()
	if rec.Name = name; name == "" {
		rec.Name = c.index.reserveRandom(rec.ID)
	} else if err := c.index.reserve(name, rec.ID); err != nil {
		return err
	}
	undo.Add(func() { c.index.release(rec.Name, rec.ID) })

	size, err := spec.StorageSize(rec.Host)
	if err != nil {
		return err
	}
	if _, err := c.o.Layers.Create(rec.ID, !rec.Host.AutoRemove, size); err != nil {
		return err
	}
	undo.Add(func() { c.o.Layers.Remove(rec.ID) })
	if err := failpoint.Hit(failpoint.ContainerCreateLayer); err != nil {
		return err
	}
	if err := c.useVolumes(rec, &undo); err != nil {
		return err
	}
	if err := c.makeDir(rec.ID); err != nil {
		return fmt.Errorf("cannot make container: %w", err)
	}
	undo.Add(func() { os.RemoveAll(c.dir(rec.ID)) })
	k := newContainer(rec)
	if err := c.save(k); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.ContainerCreateRecord); err != nil {
		return err
	}
	c.index.add(k)
	undo.Release()
	c.event(k, events.ActionCreate)
	return nil
}

func newContainer(rec *record) *Container {
	k := &Container{id: rec.ID, op: newOperation()}
	k.record.Store(rec)
	return k
}

// newID returns 64 random hexadecimal digits. docker's rule: the short form of an
// id is never a number, so that nothing mistakes it for one.
func newID() string {
	var b [32]byte
	for {
		rand.Read(b[:]) // never fails: crypto/rand ends the process instead
		id := hex.EncodeToString(b[:])
		if slices.ContainsFunc([]byte(id[:12]), func(c byte) bool { return c >= 'a' }) {
			return id
		}
	}
}

func platformOf(img *image.Image) ocispec.Platform {
	p := img.Config.Platform
	p.OS = first(p.OS, "linux")
	p.Architecture = first(p.Architecture, goruntime.GOARCH)
	return p
}

// samePlatform ignores what is not asked for.
func samePlatform(want, have ocispec.Platform) bool {
	return (want.OS == "" || want.OS == have.OS) &&
		(want.Architecture == "" || want.Architecture == have.Architecture) &&
		(want.Variant == "" || have.Variant == "" || want.Variant == have.Variant)
}

func platformName(p ocispec.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}
