package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/container"
	"hoy/lib/fault"
)

func containerList(r *request) response {
	f, err := r.filters("ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label",
		"name", "network", "publish", "since", "status", "volume")
	if err != nil {
		return failure{err}
	}
	limit, _, err := r.integer("limit")
	if err != nil {
		return failure{err}
	}
	list, err := r.server.Containers.List(r.Context(), container.ListOptions{
		All:     r.flag("all"),
		Size:    r.flag("size"),
		Limit:   max(limit, 0),
		Filters: f,
	})
	if err != nil {
		return failure{err}
	}
	if list == nil {
		list = []apicontainer.Summary{}
	}
	for i := range list {
		summarizeFor(&list[i], r.version)
	}
	if names := r.value("fields"); names != "" {
		return ok(keepFields(list, strings.Split(names, ",")))
	}
	return ok(list)
}

// brief is a Summary that does not show what is empty.
type brief struct {
	ID                      string                      `json:"Id"`
	Names                   []string                    `json:",omitempty"`
	Image                   string                      `json:",omitempty"`
	ImageID                 string                      `json:",omitempty"`
	ImageManifestDescriptor *ocispec.Descriptor         `json:",omitempty"`
	Command                 string                      `json:",omitempty"`
	Created                 int64                       `json:",omitempty"`
	Ports                   []apicontainer.PortSummary  `json:",omitempty"`
	SizeRw                  int64                       `json:",omitempty"`
	SizeRootFs              int64                       `json:",omitempty"`
	Labels                  map[string]string           `json:",omitempty"`
	State                   apicontainer.ContainerState `json:",omitempty"`
	Status                  string                      `json:",omitempty"`
	HostConfig              struct {
		NetworkMode string            `json:",omitempty"`
		Annotations map[string]string `json:",omitempty"`
	} `json:",omitzero"`
	Health          *apicontainer.HealthSummary          `json:",omitempty"`
	NetworkSettings *apicontainer.NetworkSettingsSummary `json:",omitempty"`
	Mounts          []apicontainer.MountPoint            `json:",omitempty"`
}

// keepFields leaves out what a client has no use for. That is hoy's own parameter, which
// docker ignores: of ps with a thousand containers, nearly all of the time went into
// writing and reading what is not shown.
func keepFields(list []apicontainer.Summary, names []string) []brief {
	for _, field := range []struct {
		name  string
		empty func(s *apicontainer.Summary)
	}{
		{"Names", func(s *apicontainer.Summary) { s.Names = nil }},
		{"Image", func(s *apicontainer.Summary) { s.Image = "" }},
		{"ImageID", func(s *apicontainer.Summary) { s.ImageID = "" }},
		{"ImageManifestDescriptor", func(s *apicontainer.Summary) { s.ImageManifestDescriptor = nil }},
		{"Command", func(s *apicontainer.Summary) { s.Command = "" }},
		{"Ports", func(s *apicontainer.Summary) { s.Ports = nil }},
		{"Labels", func(s *apicontainer.Summary) { s.Labels = nil }},
		{"State", func(s *apicontainer.Summary) { s.State = "" }},
		{"Status", func(s *apicontainer.Summary) { s.Status = "" }},
		{"HostConfig", func(s *apicontainer.Summary) { s.HostConfig = apicontainer.Summary{}.HostConfig }},
		{"Health", func(s *apicontainer.Summary) { s.Health = nil }},
		{"NetworkSettings", func(s *apicontainer.Summary) { s.NetworkSettings = nil }},
		{"Mounts", func(s *apicontainer.Summary) { s.Mounts = nil }},
	} {
		for i := range list {
			if !slices.Contains(names, field.name) {
				field.empty(&list[i])
			}
		}
	}
	kept := make([]brief, len(list))
	for i := range list {
		kept[i] = brief(list[i])
	}
	return kept
}

// summarizeFor takes away what version v did not have.
func summarizeFor(s *apicontainer.Summary, v version) {
	if v < 46 {
		s.HostConfig.Annotations = nil
	}
	if v < 48 {
		s.ImageManifestDescriptor = nil
	}
	if v < 52 {
		s.Health = nil
	}
}

func containerInspect(r *request) response {
	c, err := r.server.Containers.Inspect(r.Context(), r.vars[0], r.flag("size"))
	if err != nil {
		return failure{err}
	}
	return ok(inspectFor(inspected{c, r.server.Containers.LogDelivery(c.ID), r.server.Containers.AskedMAC(c.ID)}, r.version))
}

func containerStart(r *request) response {
	// Docker has taken a host config here before 1.24; ignoring it would start
	// something else than was asked for.
	if r.ContentLength > 7 { // up to "{}" and line ends, or "null"
		return failure{fault.New(fault.Invalid, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")}
	}
	if c := r.value("checkpoint"); strings.ContainsRune(c, '/') || r.value("checkpoint-dir") != "" && c == "" {
		return failure{fault.New(fault.Invalid, "invalid checkpoint ID %q", c)}
	} else if c != "" {
		return absent("starting from a checkpoint")(r)
	}
	return done(http.StatusNoContent, r.server.Containers.Start(r.Context(), r.vars[0]))
}

func containerStop(r *request) response { return r.stopped(r.server.Containers.Stop) }

func containerRestart(r *request) response { return r.stopped(r.server.Containers.Restart) }

// stopped reads how a container is to be stopped, which stop and restart do.
func (r *request) stopped(stop func(ctx context.Context, ref, signal string, timeout *int) error) response {
	seconds, set, err := r.integer("t")
	if err != nil {
		return failure{err}
	}
	var timeout *int
	if set {
		timeout = &seconds
	}
	signal := ""
	if r.version >= 42 {
		signal = r.value("signal")
	}
	return done(http.StatusNoContent, stop(r.Context(), r.vars[0], signal, timeout))
}

func containerPause(r *request) response {
	return done(http.StatusNoContent, r.server.Containers.Pause(r.Context(), r.vars[0]))
}

func containerUnpause(r *request) response {
	return done(http.StatusNoContent, r.server.Containers.Unpause(r.Context(), r.vars[0]))
}

func containerRename(r *request) response {
	return done(http.StatusNoContent, r.server.Containers.Rename(r.Context(), r.vars[0], r.value("name")))
}

func containerKill(r *request) response {
	return done(http.StatusNoContent, r.server.Containers.Kill(r.Context(), r.vars[0], r.value("signal")))
}

func containerRemove(r *request) response {
	return done(http.StatusNoContent, r.server.Containers.Remove(r.Context(), r.vars[0], container.RemoveOptions{
		Force:   r.flag("force"),
		Volumes: r.flag("v"),
		Link:    r.flag("link"),
	}))
}

func containerResize(r *request) response {
	rows, cols, err := r.size()
	if err != nil {
		return failure{err}
	}
	return done(http.StatusOK, r.server.Containers.Resize(r.Context(), r.vars[0], rows, cols))
}

// containerWait answers when the container ends. The head of the answer comes as soon as the
// waiter is registered, since a client starts the container when it has seen that; but not
// with versions before 1.30, which know no conditions.
func containerWait(r *request) response {
	condition := apicontainer.WaitCondition(r.value("condition"))
	if r.version < 30 {
		condition = ""
	}
	switch condition {
	case "":
		condition = apicontainer.WaitConditionNotRunning
	case apicontainer.WaitConditionNotRunning, apicontainer.WaitConditionNextExit, apicontainer.WaitConditionRemoved:
	default:
		return failure{fault.New(fault.Invalid, "invalid condition: %q", string(condition))}
	}
	return streamed(func(r *request) error {
		ctx, cancel := r.streaming()
		defer cancel()
		exit, err := r.server.Containers.Wait(ctx, r.vars[0], condition)
		if err != nil {
			return err
		}
		r.begin(http.StatusOK, "application/json")
		if r.version >= 30 {
			if err := r.flush(); err != nil {
				return err
			}
		}
		answer := func(status apicontainer.WaitResponse) error {
			if r.version < 34 && condition == apicontainer.WaitConditionRemoved && status.Error != nil {
				return nil // these clients take no answer for the failure that it is
			}
			return json.NewEncoder(r.w).Encode(status)
		}
		select {
		case status := <-exit:
			return answer(status)
		case <-ctx.Done():
			select {
			case status := <-exit: // an engine that ends may have ended the container first
				return answer(status)
			default:
			}
			r.cut()
			return nil
		}
	})
}

func containerLogs(r *request) response {
	o := container.LogOptions{
		Stdout:     r.flag("stdout"),
		Stderr:     r.flag("stderr"),
		Follow:     r.flag("follow"),
		Timestamps: r.flag("timestamps"),
		Details:    r.flag("details"),
		Tail:       -1,
	}
	if !o.Stdout && !o.Stderr {
		return failure{fault.New(fault.Invalid, "Bad parameters: you must choose at least one stream")}
	}
	var err error
	if o.Since, err = r.time("since"); err != nil {
		return failure{err}
	}
	if o.Until, err = r.time("until"); err != nil {
		return failure{err}
	}
	// Docker takes what is no number for "all".
	if n, err := strconv.Atoi(r.value("tail")); err == nil && n >= 0 {
		o.Tail = n
	}
	return streamed(func(r *request) error {
		ctx, cancel := r.streaming()
		defer cancel()
		err := r.server.Containers.Logs(ctx, r.vars[0], o, &logSink{r: r})
		if errors.Is(err, context.Canceled) {
			r.cut()
		}
		return err
	})
}

func containerAttach(r *request) response {
	return taken(r.server.Containers.Attach(r.Context(), r.vars[0], r.attachOptions(), r.hijack()))
}

func (r *request) attachOptions() container.AttachOptions {
	return container.AttachOptions{
		Stdin:      r.flag("stdin"),
		Stdout:     r.flag("stdout"),
		Stderr:     r.flag("stderr"),
		Stream:     r.flag("stream"),
		Logs:       r.flag("logs"),
		DetachKeys: r.value("detachKeys"),
	}
}
