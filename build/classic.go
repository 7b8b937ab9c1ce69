package build

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"
	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/solver"
	"github.com/moby/moby/api/types/jsonstream"

	"hoy/lib/fault"
)

// Classic says how the classic builder's words are told.
type Classic struct {
	Keep     bool // containers of steps are asked for, which there are not
	Force    bool // "removed" is said of a step's container although the step failed
	Stdout   func(text string)
	Stderr   func(text string)
	Progress func(jsonstream.Message) // of an image that is pulled
	Image    func(id string)          // what a stage has become
}

// Classic builds as docker's engine did before BuildKit: one instruction after the other,
// each of which makes an image, and stages in the order of the Dockerfile. What an
// instruction does is BuildKit's: step n is what its Dockerfile front end makes of the
// Dockerfile up to there, all within one job, in which nothing is done twice:
//
//	FROM busybox    the engine's own pull, if need be
//	ENV A=b         solve(FROM busybox, ENV A=b)                -> image, its parent is busybox
//	RUN make        solve(FROM busybox, ENV A=b, RUN make)      -> image, its parent is the one above
//
// The words are docker's, with the output of steps between them.
func (b *Builder) Classic(ctx context.Context, r Request, c Classic) (*Result, error) {
	return b.counted(ctx, &r, func(ctx context.Context, s *control.SolveRequest) (*Result, error) {
		return b.classic(ctx, s, &r, c)
	})
}

func (b *Builder) classic(ctx context.Context, s *control.SolveRequest, r *Request, c Classic) (*Result, error) {
	cb := &classicBuild{b: b, r: r, say: c, trace: newClassicTrace(c)}
	id, drop := b.front.calls.add(cb.run)
	defer drop()
	s.Frontend, s.FrontendAttrs[callsKey], s.Exporters = callsFrontend, id, nil
	s.Internal = true // docker's history of builds does not have these either
	if _, err := b.solve(ctx, s, cb.trace.status); err != nil {
		return nil, err
	}
	if cb.image == "" {
		return nil, fault.New(fault.Invalid, "No image was generated. Is your Dockerfile empty?")
	}
	c.Stdout("Successfully built " + short(cb.image) + "\n")
	for _, t := range r.Tags {
		if err := b.o.Tag(ctx, cb.image, t); err != nil {
			return nil, err
		}
		if ref, err := reference.ParseNormalizedNamed(t); err == nil {
			t = reference.FamiliarString(ref)
		}
		c.Stdout("Successfully tagged " + t + "\n")
	}
	return &Result{ImageID: cb.image}, nil
}

// short is how docker shows an id.
func short(id string) string {
	_, hex, ok := strings.Cut(id, ":")
	if !ok {
		hex = id
	}
	return hex[:min(12, len(hex))]
}

// classicBuild is one build on its way.
type classicBuild struct {
	b     *Builder
	r     *Request
	say   Classic
	trace *classicTrace

	source  *classicSource
	args    []string // NAME=value for FROM
	steps   int      // all of them
	step    int
	stages  map[string]string // images of stages by name, in lower case
	image   string            // of the last step
	config  stepConfig        // of image
	labels  string            // of the request, as instructions, as far as they are applied
	lines   []string          // names of those that have several lines
	results []*frontend.Result
}

// run is the front end of the build.
func (c *classicBuild) run(ctx context.Context, k *call) (*frontend.Result, error) {
	defer func() {
		for _, res := range c.results {
			res.EachRef(func(ref solver.ResultProxy) error { return ref.Release(context.WithoutCancel(ctx)) })
		}
	}()
	var err error
	if c.source, err = readSource(ctx, k, c.r.Dockerfile); err != nil {
		return nil, err
	}
	stages, metaArgs, err := c.source.parse(c.r.Target)
	if err != nil {
		return nil, err
	}
	c.source.ast.PrintWarnings(writer(c.say.Stderr))
	if c.say.Keep {
		c.say.Stdout("[Warning] steps leave no containers: there is nothing to keep (--rm=false)\n")
	}
	c.stages, c.steps = map[string]string{}, len(metaArgs)+len(stages)+len(c.r.Labels)
	for _, s := range stages {
		c.steps += len(s.Commands)
	}
	for i := range metaArgs {
		c.begin(&metaArgs[i])
		if err := c.metaArg(&metaArgs[i]); err != nil {
			return nil, err
		}
	}
	for i := range stages {
		if err := c.stage(ctx, k, &stages[i], i == len(stages)-1); err != nil {
			return nil, err
		}
	}
	c.unusedArgs(stages, metaArgs)
	return &frontend.Result{}, nil
}

// begin tells of the next step.
func (c *classicBuild) begin(what any) {
	c.step++
	c.say.Stdout(fmt.Sprintf("Step %d/%d : %v\n", c.step, c.steps, what))
}

// stage builds from FROM to the last instruction.
func (c *classicBuild) stage(ctx context.Context, k *call, s *instructions.Stage, last bool) error {
	if _, taken := c.stages[strings.ToLower(s.Name)]; taken && s.Name != "" {
		return fault.New(fault.Invalid, "%s stage name already used", s.Name)
	}
	c.begin(s.SourceCode)
	if err := c.from(ctx, k, s); err != nil {
		return err
	}
	c.say.Stdout(" ---> " + short(c.image) + "\n")
	for _, cmd := range s.Commands {
		c.begin(cmd)
		if err := c.instruction(ctx, k, cmd, ends(cmd.Location())); err != nil {
			return err
		}
		c.say.Stdout(" ---> " + short(c.image) + "\n")
	}
	if last {
		if err := c.applyLabels(ctx, k, s); err != nil {
			return err
		}
	}
	if c.image != "" {
		c.say.Image(c.image)
	}
	if s.Name != "" {
		c.stages[strings.ToLower(s.Name)] = c.image
	}
	return nil
}

// applyLabels adds the labels of the request, each as an instruction at the end.
func (c *classicBuild) applyLabels(ctx context.Context, k *call, s *instructions.Stage) error {
	end := ends(s.Location)
	for _, cmd := range s.Commands {
		end = max(end, ends(cmd.Location()))
	}
	for _, name := range slices.Sorted(maps.Keys(c.r.Labels)) {
		cmd := instructions.NewLabelCommand(name, c.r.Labels[name], true)
		c.begin(cmd)
		if value := c.r.Labels[name]; strings.ContainsAny(name+value, "\r\n") {
			c.lines = append(c.lines, name) // an instruction cannot have it
		} else {
			c.labels += "LABEL " + c.quoted(name) + "=" + c.quoted(value) + "\n"
		}
		if err := c.instruction(ctx, k, cmd, end); err != nil {
			return err
		}
		c.say.Stdout(" ---> " + short(c.image) + "\n")
	}
	return nil
}

// quoted is text as a Dockerfile has it when it means nothing but itself.
func (c *classicBuild) quoted(text string) string {
	esc := string(c.source.ast.EscapeToken)
	return `"` + strings.NewReplacer(esc, esc+esc, `"`, esc+`"`, "$", esc+"$").Replace(text) + `"`
}

// ends is the last line of an instruction, from 1 on.
func ends(at []parser.Range) int {
	line := 0
	for _, r := range at {
		line = max(line, r.Start.Line, r.End.Line)
	}
	return line
}

// metaArg takes a variable before the first FROM, with the request's value if it has one.
func (c *classicBuild) metaArg(a *instructions.ArgCommand) error {
	lex := shell.NewLex(c.source.ast.EscapeToken)
	if err := a.Expand(func(word string) (string, error) {
		v, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(c.args))
		return v, err
	}); err != nil {
		return fault.As(fault.Invalid, err)
	}
	for _, arg := range a.Args {
		if v := c.r.Args[arg.Key]; v != nil {
			arg.Value = v
		}
		if arg.Value != nil {
			c.args = append(c.args, arg.Key+"="+*arg.Value)
		}
	}
	return nil
}

// proxyArgs may be given without an ARG.
var proxyArgs = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

// unusedArgs warns of variables that no ARG asks for.
func (c *classicBuild) unusedArgs(stages []instructions.Stage, meta []instructions.ArgCommand) {
	used := map[string]bool{}
	note := func(a *instructions.ArgCommand) {
		for _, arg := range a.Args {
			used[arg.Key] = true
		}
	}
	for i := range meta {
		note(&meta[i])
	}
	for _, s := range stages {
		for _, cmd := range s.Commands {
			if a, ok := cmd.(*instructions.ArgCommand); ok {
				note(a)
			}
		}
	}
	var left []string
	for name := range c.r.Args {
		if !used[name] && !slices.Contains(proxyArgs, strings.ToUpper(name)) && !strings.HasPrefix(name, "BUILDKIT_") {
			left = append(left, name)
		}
	}
	if slices.Sort(left); len(left) > 0 {
		c.say.Stdout(fmt.Sprintf("[Warning] One or more build-args %v were not consumed\n", left))
	}
}

// writer makes an io.Writer of what takes text.
type writer func(string)

func (w writer) Write(p []byte) (int, error) { w(string(p)); return len(p), nil }
