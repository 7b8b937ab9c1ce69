package server

import (
	"github.com/moby/moby/api/types/build"
	apicontainer "github.com/moby/moby/api/types/container"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	apivolume "github.com/moby/moby/api/types/volume"

	"hoy/lib/fault"
)

// diskUsage is the answer to clients of every version: those before 1.52 know the lists
// only; later ones that do not say verbose get both, as docker's engine gives them.
type diskUsage struct {
	legacyUsage
	*system.DiskUsage
}

// legacyUsage is how versions up to 1.51 show what is on disk.
type legacyUsage struct {
	LayersSize int64                  `json:",omitempty"`
	Images     []apiimage.Summary     `json:",omitzero"`
	Containers []apicontainer.Summary `json:",omitzero"`
	Volumes    []apivolume.Volume     `json:",omitzero"`
	BuildCache []build.CacheRecord    `json:",omitzero"`
}

// oldUsage is how versions up to 1.43 show it: the size of an image under two names, of
// which their clients take the other.
type oldUsage struct {
	legacyUsage
	Images []extended
}

func diskUsageReport(r *request) response {
	o, cache, err := r.measured()
	if err != nil {
		return failure{err}
	}
	verbose := r.version >= 52 && r.flag("verbose")
	o.Items = true // the lists need them; only sums are shown where they are not wanted
	u, err := r.server.System.DiskUsage(r.Context(), o)
	if err != nil {
		return failure{err}
	}
	if cache {
		if u.BuildCacheUsage, err = r.server.Builds.DiskUsage(r.Context(), true); err != nil {
			return failure{err}
		}
	}
	answer := diskUsage{DiskUsage: u}
	if !verbose {
		answer.legacyUsage = legacyUsageOf(u)
		withoutItems(u)
	}
	if r.version < 44 && len(answer.Images) > 0 {
		old := oldUsage{legacyUsage: answer.legacyUsage}
		for _, i := range answer.Images {
			old.Images = append(old.Images, extended{i, map[string]any{"VirtualSize": i.Size}})
		}
		return ok(old)
	}
	if r.version < 52 {
		return ok(answer.legacyUsage)
	}
	return ok(answer)
}

// measured reads what the client asks for, everything if it does not say.
func (r *request) measured() (o DiskUsageOptions, cache bool, err error) {
	types, set := r.form()["type"]
	if !set || r.version < 42 {
		return DiskUsageOptions{Images: true, Containers: true, Volumes: true}, true, nil
	}
	for _, t := range types {
		switch system.DiskUsageObject(t) {
		case system.ImageObject:
			o.Images = true
		case system.ContainerObject:
			o.Containers = true
		case system.VolumeObject:
			o.Volumes = true
		case system.BuildCacheObject:
			cache = true
		default:
			return o, cache, fault.New(fault.Invalid, "unknown object type: %s", t)
		}
	}
	return o, cache, nil
}

func legacyUsageOf(u *system.DiskUsage) (l legacyUsage) {
	if i := u.ImageUsage; i != nil {
		l.LayersSize, l.Images = i.TotalSize, append([]apiimage.Summary{}, i.Items...)
	}
	if c := u.ContainerUsage; c != nil {
		l.Containers = append([]apicontainer.Summary{}, c.Items...)
	}
	if v := u.VolumeUsage; v != nil {
		l.Volumes = append([]apivolume.Volume{}, v.Items...)
	}
	if b := u.BuildCacheUsage; b != nil {
		l.BuildCache = append([]build.CacheRecord{}, b.Items...)
	}
	return l
}

func withoutItems(u *system.DiskUsage) {
	if u.ImageUsage != nil {
		u.ImageUsage.Items = nil
	}
	if u.ContainerUsage != nil {
		u.ContainerUsage.Items = nil
	}
	if u.VolumeUsage != nil {
		u.VolumeUsage.Items = nil
	}
	if u.BuildCacheUsage != nil {
		u.BuildCacheUsage.Items = nil
	}
}

// diskReport is hoy's own: every byte below the data root.
func diskReport(r *request) response {
	d, err := r.server.System.Disk(r.Context())
	if err != nil {
		return failure{err}
	}
	return ok(d)
}
