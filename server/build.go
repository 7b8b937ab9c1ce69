package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/moby/api/types"
	apibuild "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/jsonstream"
	"google.golang.org/protobuf/proto"

	"hoy/build"
	"hoy/lib/fault"
)

// uploadPrefix begins the build ID of a request that brings another one's context.
const uploadPrefix = "upload-request:"

// imageBuild is POST /build: version 2 tells BuildKit's trace, version 1, which is what
// clients get that do not say, the text of docker's classic builder.
func imageBuild(r *request) response {
	if id, ok := strings.CutPrefix(r.value("buildid"), uploadPrefix); ok {
		return done(http.StatusOK, r.server.Builds.Upload(r.Context(), id, r.Body))
	}
	b, err := r.buildRequest()
	if err != nil {
		return failure{err}
	}
	if r.flag("squash") {
		return failure{r.squashed()}
	}
	b.Context = r.Body
	switch v := apibuild.BuilderVersion(r.value("version")); v {
	case "", apibuild.BuilderV1:
		return r.classicBuild(b)
	case apibuild.BuilderBuildKit:
		return r.kitBuild(b)
	default:
		return failure{fault.New(fault.Invalid, "invalid version %q", v)}
	}
}

// squashed says why an image is not squashed, in docker's words where it has the same
// reason.
func (r *request) squashed() error {
	if !r.server.Experimental {
		return fault.New(fault.Invalid, "squash is only supported with experimental mode")
	}
	return fault.New(fault.NotImplemented, "squash is not implemented: a last stage that copies from the others gives one layer")
}

// kitBuild answers with BuildKit's trace in aux messages.
func (r *request) kitBuild(b build.Request) response {
	if len(b.Outputs) > 1 {
		return failure{fault.New(fault.Invalid, "multiple outputs not supported")}
	}
	return buildStream(func(ctx context.Context, out *buildOutput) (string, error) {
		b.Trace = func(s *control.StatusResponse) {
			if text, err := proto.Marshal(s); err == nil {
				out.aux("moby.buildkit.trace", text)
			}
		}
		res, err := r.server.Builds.Build(ctx, b)
		if err != nil {
			return "", err
		}
		if res.ImageID != "" {
			out.aux("moby.image.id", apibuild.Result{ID: res.ImageID})
		}
		return res.ImageID, nil
	})
}

// classicBuild answers with the words of docker's classic builder.
func (r *request) classicBuild(b build.Request) response {
	if len(b.Outputs) > 0 {
		return failure{fault.New(fault.Invalid, "outputs need BuildKit: set DOCKER_BUILDKIT=1")}
	}
	if b.Remote == "client-session" {
		return failure{fault.New(fault.Invalid, "experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) instead")}
	}
	// Steps leave no containers, whatever rm and forcerm say; who asks to keep them is told.
	keep := r.value("rm") != "" && !r.flag("rm") && !r.flag("forcerm")
	return buildStream(func(ctx context.Context, out *buildOutput) (string, error) {
		res, err := r.server.Builds.Classic(ctx, b, build.Classic{
			Keep: keep, Force: r.flag("forcerm"),
			Stdout:   func(text string) { out.say(jsonstream.Message{Stream: text}) },
			Stderr:   func(text string) { out.say(jsonstream.Message{Stream: "\x1b[91m" + text + "\x1b[0m"}) },
			Progress: func(m jsonstream.Message) { out.say(m) },
			Image:    func(id string) { out.aux("", apibuild.Result{ID: id}) },
		})
		if err != nil {
			return "", err
		}
		return res.ImageID, nil
	})
}

// buildStream runs a build whose messages are the answer. The context is read while the
// answer is written. With the parameter q there is only the image's ID, but all that was
// said when the build fails.
func buildStream(run func(ctx context.Context, out *buildOutput) (imageID string, err error)) response {
	return streamed(func(r *request) error {
		http.NewResponseController(r.w).EnableFullDuplex() // without it all is buffered until the context is read
		out := &buildOutput{r: r, quiet: r.flag("q")}
		ctx, cancel := r.streaming()
		defer cancel()
		id, err := run(ctx, out)
		if err != nil {
			return out.fail(err)
		}
		if out.quiet {
			out.quiet = false
			out.say(jsonstream.Message{Stream: id + "\n"})
		}
		return nil
	})
}

// buildOutput writes the messages of a build, as docker's engine ends them: by CR LF.
type buildOutput struct {
	r     *request
	quiet bool // messages are kept for a failure

	mu   sync.Mutex
	kept bytes.Buffer
}

func (o *buildOutput) say(value any) {
	text, err := json.Marshal(value)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.quiet {
		o.kept.Write(append(text, "\r\n"...))
		return
	}
	o.send(append(text, "\r\n"...))
}

// send writes; that the client has gone is told by its context.
func (o *buildOutput) send(text []byte) {
	if !o.r.started {
		o.r.begin(http.StatusOK, types.MediaTypeJSON)
	}
	o.r.w.Write(text)
	o.r.flush()
}

func (o *buildOutput) aux(id string, value any) {
	if o.r.version < 30 {
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		return
	}
	raw := json.RawMessage(text)
	o.say(jsonstream.Message{ID: id, Aux: &raw})
}

// fail ends the stream with err; before the first message it is an ordinary error.
func (o *buildOutput) fail(err error) error {
	o.mu.Lock()
	if o.quiet && o.kept.Len() > 0 {
		o.send(o.kept.Bytes())
	}
	o.quiet = false
	o.mu.Unlock()
	if !o.r.started {
		return err
	}
	e := &jsonstream.Error{Message: err.Error()}
	if exit := build.ExitCode(err); exit != 0 {
		e.Code = exit
	}
	o.say(struct {
		LegacyError string            `json:"error"` // what clients from before errorDetail read
		Error       *jsonstream.Error `json:"errorDetail"`
	}{e.Message, e})
	return nil
}

// buildCancel ends the build of the id, if it goes on.
func buildCancel(r *request) response {
	id := r.value("id")
	if id == "" {
		return failure{fault.New(fault.Invalid, "build ID not provided")}
	}
	r.server.Builds.Cancel(id)
	return streamed(func(r *request) error { r.begin(http.StatusOK, types.MediaTypeJSON); return nil })
}
