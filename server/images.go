package server

import (
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/distribution/reference"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/storage"

	"hoy/container"
	"hoy/lib/fault"
	"hoy/lib/filters"
)

func imageList(r *request) response {
	f, err := r.filters("before", "dangling", "label", "label!", "reference", "since", "until")
	if err != nil {
		return failure{err}
	}
	if r.version >= 54 && r.flag("identity") && !r.flag("manifests") {
		return failure{fault.New(fault.Invalid, "conflicting options: identity requires manifests=1")}
	}
	if name := r.value("filter"); r.version < 25 && name != "" && !f.Has("reference") {
		if f == nil {
			f = filters.Filters{}
		}
		f["reference"] = []string{name}
	}
	list, err := r.server.Images.List(r.Context(), ImageListOptions{
		All:        r.flag("all"),
		SharedSize: r.version >= 42 && r.flag("shared-size"),
		Manifests:  r.version >= 47 && r.flag("manifests"),
		Filters:    f,
	})
	if err != nil {
		return failure{err}
	}
	return ok(imagesFor(list, r.version))
}

// imagesFor shapes a list, which is the caller's own copy, for version v.
func imagesFor(list []apiimage.Summary, v version) any {
	if list == nil {
		list = []apiimage.Summary{}
	}
	old := make([]extended, len(list))
	for i := range list {
		if v < 48 {
			list[i].Descriptor = nil
		}
		if v < 51 {
			list[i].Containers = -1 // not counted for them
		}
		old[i] = extended{&list[i], map[string]any{"VirtualSize": list[i].Size}}
	}
	if v < 44 {
		return old
	}
	return list
}

func imageInspect(r *request) response {
	p, err := r.platform()
	if err != nil {
		return failure{err}
	}
	o := ImageInspectOptions{Manifests: r.version >= 48 && r.flag("manifests")}
	if r.version >= 49 {
		o.Platform = p
	}
	if o.Manifests && o.Platform != nil {
		return failure{fault.New(fault.Invalid, "conflicting options: manifests and platform options cannot both be set")}
	}
	i, err := r.server.Images.Inspect(r.Context(), r.vars[0], o)
	if err != nil {
		return failure{err}
	}
	return ok(imageFor(i, r.version))
}

// imageFor shapes i, which is the caller's own copy, for version v.
func imageFor(i *ImageDetails, v version) any {
	if v < 48 {
		i.Descriptor = nil
	}
	if v >= 52 {
		return i
	}
	if i.GraphDriver == nil {
		i.GraphDriver = &storage.DriverData{Name: container.Driver}
	}
	config := map[string]any{
		"Cmd": nil, "Entrypoint": nil, "Env": nil, "Labels": nil, "OnBuild": nil, "User": "", "Volumes": nil, "WorkingDir": "",
	}
	extra := map[string]any{"Parent": i.Parent, "Comment": "", "DockerVersion": "", "Author": "", "Config": config}
	if v < 50 {
		maps.Copy(config, map[string]any{
			"AttachStderr": false, "AttachStdin": false, "AttachStdout": false, "Domainname": "", "Hostname": "", "Image": "",
			"OpenStdin": false, "StdinOnce": false, "Tty": false,
		})
	}
	if v < 45 {
		extra["Container"], extra["ContainerConfig"] = "", nil
	}
	if v < 44 {
		extra["VirtualSize"] = i.Size
		if i.Created == "" {
			i.Created = time.Time{}.Format(time.RFC3339Nano) // such clients want a time
		}
	}
	return extended{&i.InspectResponse, extra}
}

func imageRemove(r *request) response {
	platforms, err := r.platforms("platforms")
	if err != nil {
		return failure{err}
	}
	removed, err := r.server.Images.Remove(r.Context(), r.vars[0], ImageRemoveOptions{
		Force:         r.flag("force"),
		PruneChildren: !r.flag("noprune"),
		Platforms:     platforms,
	})
	if removed == nil {
		removed = []apiimage.DeleteResponse{}
	}
	return result(removed, err)
}

func imageTag(r *request) response {
	ref := joinTag(r.value("repo"), r.value("tag"))
	if ref == "" {
		return failure{fault.New(fault.Invalid, "repo is required")}
	}
	return done(http.StatusCreated, r.server.Images.Tag(r.Context(), r.vars[0], ref))
}

func imageLoad(r *request) response {
	platforms, err := r.platforms("platform")
	if err != nil {
		return failure{err}
	}
	quiet := r.value("quiet") == "" || r.flag("quiet")
	return progress(func(r *request, say Progress) error {
		return r.server.Images.Load(r.Context(), r.Body, ImageLoadOptions{Quiet: quiet, Platforms: platforms}, say)
	})
}

// imageCreate is pull and import in one call, told apart by fromImage.
func imageCreate(r *request) response {
	if r.value("fromImage") != "" {
		return imagePull(r)
	}
	source := r.value("fromSrc")
	p, err := r.platformSince(32)
	if err != nil {
		return failure{err}
	}
	message := r.value("message")
	if message == "" {
		message = "Imported from " + source
	}
	o := ImageImportOptions{
		Ref:      joinTag(r.value("repo"), r.value("tag")),
		Message:  message,
		Changes:  r.form()["changes"],
		Platform: p,
	}
	archive := r.Body
	if source != "-" {
		if archive, err = fetch(r.Context(), source); err != nil {
			return failure{err}
		}
	}
	return progress(func(r *request, say Progress) error {
		defer archive.Close()
		if source != "-" {
			say(jsonstream.Message{Status: "Downloading from " + source})
		}
		id, err := r.server.Images.Import(r.Context(), archive, o)
		if err == nil {
			say(jsonstream.Message{Status: id})
		}
		return err
	})
}

// joinTag puts together what the query has in two: a tag may be a digest. It counts more
// than one that the name has.
func joinTag(name, tag string) string {
	switch {
	case name == "" || tag == "":
		return name
	case strings.Contains(tag, ":"):
		return name + "@" + tag
	}
	if n, err := reference.ParseNormalizedNamed(name); err == nil {
		_, tagged := n.(reference.Tagged)
		if _, digested := n.(reference.Digested); tagged && !digested {
			name = reference.FamiliarName(n)
		}
	}
	return name + ":" + tag
}
