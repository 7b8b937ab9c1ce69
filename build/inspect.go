package build

import (
	"context"

	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/moby/buildkit/frontend/subrequests/outline"
	"github.com/moby/buildkit/frontend/subrequests/targets"

	"hoy/lib/fault"
)

// Keys of Result.Attrs with the answer to Inspect.
const (
	AttrText = "result.txt"  // for a person
	AttrJSON = "result.json" // as BuildKit forms it
)

// Inspect answers a question about the Dockerfile and builds nothing: what a linter finds
// (lint), which variables and secrets it takes (outline), or its stages (targets).
func (b *Builder) Inspect(ctx context.Context, r Request, method string) (*Result, error) {
	question := map[string]string{
		"lint":    lint.RequestLint,
		"outline": outline.SubrequestsOutlineDefinition.Name,
		"targets": targets.SubrequestsTargetsDefinition.Name,
	}[method]
	if question == "" {
		return nil, fault.New(fault.Invalid, "unknown method %q: want lint, outline or targets", method)
	}
	ctx, end := b.front.start(ctx, r.ID)
	defer end()
	s, done, err := b.prepare(ctx, &r)
	if err != nil {
		return nil, err
	}
	defer done()
	answer := map[string]string{}
	id, drop := b.front.calls.add(func(ctx context.Context, k *call) (*frontend.Result, error) {
		k.attrs["requestid"], k.attrs["frontend.caps"] = question, "moby.buildkit.frontend.subrequests"
		res, err := k.FrontendLLBBridge.Solve(ctx, frontend.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: k.attrs, FrontendInputs: k.inputs}, k.session)
		if err != nil {
			return nil, err
		}
		for _, key := range []string{AttrText, AttrJSON} {
			answer[key] = string(res.Metadata[key])
		}
		return &frontend.Result{}, nil
	})
	defer drop()
	s.Frontend, s.FrontendAttrs[callsKey], s.Exporters, s.Internal = callsFrontend, id, nil, true
	if _, err := b.solve(ctx, s, r.Trace); err != nil {
		return nil, err
	}
	return &Result{Attrs: answer}, nil
}
