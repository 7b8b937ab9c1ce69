package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"

	"github.com/moby/moby/api/types"

	"hoy/build"
	"hoy/lib/buildfiles"
	"hoy/lib/buildlog"
	"hoy/lib/fault"
)

// hoyBuild is POST /hoy/build, which package buildlog describes.
func hoyBuild(r *request) response {
	b, err := r.buildRequest()
	if err != nil {
		return failure{err}
	}
	if err := r.moreOfBuild(&b); err != nil {
		return failure{err}
	}
	return streamed(func(r *request) error {
		http.NewResponseController(r.w).EnableFullDuplex() // the context is read while the answer is written
		var out *jsonStream                                // begins when the request is known to be right
		tell := build.NewTeller(func(e buildlog.Event) { out.send(e) })
		parts, err := r.buildParts(&b, tell.Want)
		if err != nil {
			return err
		}
		defer parts.close()
		ctx, cancel := r.streaming()
		defer cancel()
		out = r.jsonStream(types.MediaTypeJSONLines)
		b.Trace = tell.Status
		chunks := tell.Outputs(b.Outputs)
		tell.End(r.buildOrInspect(ctx, b, chunks))
		return nil
	})
}

func (r *request) buildOrInspect(ctx context.Context, b build.Request, whole func()) (*build.Result, error) {
	if method := r.value("method"); method != "" {
		return r.server.Builds.Inspect(ctx, b, method)
	}
	res, err := r.server.Builds.Build(ctx, b)
	if err == nil {
		whole()
	}
	return res, err
}

// moreOfBuild reads the parameters that are hoy's own.
func (r *request) moreOfBuild(b *build.Request) error {
	q := r.form()
	b.NoCacheOf, b.CacheTo, b.Attests, b.Allow = q["nocachefilter"], q["cacheto"], q["attest"], q["allow"]
	for _, text := range q["buildcontext"] {
		name, url, ok := strings.Cut(text, "=")
		if !ok || name == "" || !strings.Contains(url, ":") {
			return fault.New(fault.Invalid, "invalid build context %q: want NAME=URL", text)
		}
		if b.Contexts == nil {
			b.Contexts = map[string]string{}
		}
		b.Contexts[name] = url
	}
	if r.value("session") != "" {
		return fault.New(fault.Invalid, "this route knows no sessions: POST /build does")
	}
	return nil
}

// buildParts are the parts of a body, of which the last is read by the build.
type buildParts struct{ spooled []*os.File }

func (p *buildParts) close() {
	for _, f := range p.spooled {
		f.Close()
	}
}

// buildParts reads the body up to the context. want asks the client for files.
func (r *request) buildParts(b *build.Request, want func([]buildfiles.Want) error) (*buildParts, error) {
	p := &buildParts{}
	if r.Header.Get("Content-Type") == "" {
		return p, nil // a remote context, and nothing else
	}
	body, err := r.MultipartReader()
	if err != nil {
		return nil, fault.New(fault.Invalid, "the body of a build has parts (multipart/form-data): %w", err)
	}
	for {
		part, err := body.NextPart()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			p.close()
			return nil, fault.New(fault.Invalid, "cannot read the build's body: %w", err)
		}
		switch part.FormName() {
		case "context":
			b.Context = part
			return p, nil
		case "files":
			if b.Files, err = buildfiles.Receive(part, want); err != nil {
				p.close()
				return nil, fault.New(fault.Invalid, "%w", err)
			}
			return p, nil
		}
		if err := p.take(b, part); err != nil {
			p.close()
			return nil, err
		}
	}
}

func (p *buildParts) take(b *build.Request, part *multipart.Part) error {
	name := part.FormName()
	if name == "secrets" {
		if err := json.NewDecoder(io.LimitReader(part, maxBody)).Decode(&b.Secrets); err != nil {
			return fault.New(fault.Invalid, "the part secrets is no JSON object of id to base64: %w", err)
		}
		return nil
	}
	name, ok := strings.CutPrefix(name, "context:")
	if !ok || name == "" {
		return fault.New(fault.Invalid, "unknown part %q of a build: want secrets, context:NAME, context or files", part.FormName())
	}
	// BuildKit reads contexts in its own order, so that those before the last must be kept.
	f, err := os.CreateTemp("", "hoy-context-")
	if err != nil {
		return err
	}
	p.spooled = append(p.spooled, f)
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if _, err := io.Copy(f, part); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if b.Archives == nil {
		b.Archives = map[string]io.Reader{}
	}
	b.Archives[name] = f
	return nil
}
