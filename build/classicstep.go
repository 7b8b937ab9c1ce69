package build

import (
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/result"
	"github.com/moby/buildkit/util/leaseutil"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/jsonstream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image"
	"hoy/lib/fault"
)

// stepConfig is what of an image's configuration the next step's words depend on.
type stepConfig struct {
	shell, health, triggers []string
}

func (c *stepConfig) of(im *dockerspec.DockerOCIImageConfig) {
	*c = stepConfig{shell: im.Shell, triggers: im.OnBuild}
	if im.Healthcheck != nil {
		c.health = im.Healthcheck.Test
	}
}

// from begins a stage: on another one, on an image, which is pulled if need be, or on
// nothing. Triggers of the image are steps of this one.
func (c *classicBuild) from(ctx context.Context, k *call, s *instructions.Stage) error {
	lex := shell.NewLex(c.source.ast.EscapeToken)
	expand := func(word string) (string, error) {
		v, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(c.args))
		return v, fault.As(fault.Invalid, err)
	}
	name, err := expand(s.BaseName)
	if err != nil {
		return err
	}
	platform, err := expand(s.Platform)
	if err != nil {
		return err
	}
	if platform == "" && len(c.r.Platforms) > 0 {
		platform = c.r.Platforms[0]
	}
	c.image, c.config = "", stepConfig{}
	before, stage := c.stages[strings.ToLower(name)]
	switch {
	case name == "":
		return fault.New(fault.Invalid, "base name (%s) should not be blank", s.BaseName)
	case name == "scratch":
		return nil
	case stage:
		name, platform = before, ""
		if name == "" { // a stage on nothing, with nothing in it
			return nil
		}
	}
	im, err := c.base(ctx, name, platform, stage)
	if err != nil {
		return err
	}
	c.image = im.Target.Digest.String()
	c.config.of(&im.Config.Config)
	n := len(c.config.triggers)
	if n == 0 {
		return nil
	}
	plural := "s"
	if n == 1 {
		plural = ""
	}
	c.say.Stdout("# Executing " + itoa(n) + " build trigger" + plural + "\n")
	c.trace.triggers(c.config.triggers)
	return c.instruction(ctx, k, s, ends(s.Location))
}

// base is the image below a stage.
func (c *classicBuild) base(ctx context.Context, name, platform string, stage bool) (*image.Image, error) {
	var p *ocispec.Platform
	if platform != "" {
		parsed, err := platforms.Parse(platform)
		if err != nil {
			return nil, fault.New(fault.Invalid, "failed to parse platform %s: %w", platform, err)
		}
		p = &parsed
	}
	im, err := c.b.o.Images.GetPlatform(ctx, name, p)
	if stage || err == nil && !c.r.Pull {
		return im, err
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid base name %q: %w", name, err)
	}
	say := c.say.Progress
	if say == nil {
		say = func(jsonstream.Message) {}
	}
	if err := c.b.o.Pull(ctx, reference.TagNameOnly(ref), p, authFor(c.r.Auth, reference.Domain(ref)), say); err != nil {
		return nil, err
	}
	return c.b.o.Images.GetPlatform(ctx, name, p)
}

// instruction does one, which ends at a line of the Dockerfile, and makes an image.
func (c *classicBuild) instruction(ctx context.Context, k *call, cmd any, line int) error {
	parent := c.image
	if h, ok := cmd.(*instructions.HealthCheckCommand); ok && h != nil && len(c.config.health) > 0 && c.config.health[0] != "NONE" {
		c.say.Stdout("Note: overriding previous HEALTHCHECK: [" + strings.Join(c.config.health, " ") + "]\n")
	}
	if err := refused(cmd); err != nil {
		return err
	}
	c.trace.expect(cmd)
	res, err := c.solve(ctx, k, line)
	c.trace.wait(ctx, k)
	if err != nil {
		c.trace.failed(c.say.Force)
		return c.words(cmd, err)
	}
	c.results = append(c.results, res)
	present := c.b.o.Images.Present()
	id, err := c.keep(ctx, k, res)
	if err != nil {
		return err
	}
	cached := c.trace.cached()
	if cached == unknown && present(id) { // nothing was run: the image tells
		cached = yes
	}
	if c.r.NoCache { // what BuildKit finds nevertheless took no step to find
		cached = no
	}
	if cached == yes {
		c.say.Stdout(" ---> Using cache\n")
	}
	c.trace.done(cached == yes)
	if parent != "" && id != parent {
		if err := c.b.o.Images.SetParent(ctx, id, parent); err != nil {
			return err
		}
	}
	c.image = id
	return nil
}

// solve has BuildKit make the Dockerfile up to a line.
func (c *classicBuild) solve(ctx context.Context, k *call, line int) (*frontend.Result, error) {
	attrs := maps.Clone(k.attrs)
	for _, name := range []string{"context", "filename", "target"} {
		delete(attrs, name)
	}
	for name := range c.r.Labels {
		delete(attrs, "label:"+name)
	}
	for _, name := range c.lines {
		attrs["label:"+name] = c.r.Labels[name]
	}
	attrs["cmdline"] = ""                 // "# syntax=" was a comment then
	attrs["image-resolve-mode"] = "local" // from has pulled what was wanted
	inputs, err := c.source.until(ctx, line, c.labels)
	if err != nil {
		return nil, err
	}
	res, err := k.FrontendLLBBridge.Solve(ctx, frontend.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: attrs, FrontendInputs: inputs}, k.session)
	if err != nil {
		return nil, err
	}
	if _, err := workerRef(ctx, res.Ref); err != nil {
		return nil, err
	}
	return res, nil
}

// keep puts the image of a result into the store.
func (c *classicBuild) keep(ctx context.Context, k *call, res *frontend.Result) (string, error) {
	ctrl, err := c.b.control(ctx)
	if err != nil {
		return "", err
	}
	src, err := result.ConvertResult(res, func(ref solver.ResultProxy) (cache.ImmutableRef, error) {
		w, err := workerRef(ctx, ref)
		if err != nil || w == nil {
			return nil, err
		}
		return w.ImmutableRef, nil
	})
	if err != nil {
		return "", err
	}
	x, err := ctrl.worker.Exporter(exporterMoby, k.sm)
	if err != nil {
		return "", err
	}
	instance, err := x.Resolve(ctx, 0, map[string]string{})
	if err != nil {
		return "", err
	}
	ctx, release, err := leaseutil.WithLease(ctx, ctrl.worker.LeaseManager(), leaseutil.MakeTemporary)
	if err != nil {
		return "", err
	}
	defer release(context.WithoutCancel(ctx))
	out, _, ref, err := instance.Export(ctx, src, exporter.ExportBuildInfo{Ref: identity.NewID(), SessionID: k.session})
	if err != nil {
		return "", err
	}
	if ref != nil {
		defer ref.Release()
	}
	var config dockerspec.DockerOCIImage
	if json.Unmarshal(res.Metadata[exptypes.ExporterImageConfigKey], &config) == nil {
		c.config.of(&config.Config)
	}
	return out[exptypes.ExporterImageDigestKey], nil
}

// refused are copies that BuildKit makes something of, but not what was meant: several
// files into what is no folder, and what is not below the context.
func refused(cmd any) error {
	var name string
	var all instructions.SourcesAndDest
	switch c := cmd.(type) {
	case *instructions.CopyCommand:
		name, all = "COPY", c.SourcesAndDest
		if c.From != "" {
			return nil
		}
	case *instructions.AddCommand:
		name, all = "ADD", c.SourcesAndDest
	}
	if len(all.SourcePaths)+len(all.SourceContents) > 1 && !strings.HasSuffix(all.DestPath, "/") {
		return fault.New(fault.Invalid, "When using %s with more than one source file, the destination must be a directory and end with a /", name)
	}
	for _, s := range all.SourcePaths {
		if p := path.Join(".", s); p == ".." || strings.HasPrefix(p, "../") {
			return fault.New(fault.Invalid, "%s failed: forbidden path outside the build context: %s ()", name, s)
		}
	}
	return nil
}

var missing = regexp.MustCompile(`"/?([^"]*)": not found`)

// words gives an error docker's, where docker has its own.
func (c *classicBuild) words(cmd any, err error) error {
	if exit := ExitCode(err); exit != 0 {
		return &stepError{code: exit, text: "The command '" + strings.Join(c.commandLine(cmd), " ") + "' returned a non-zero code: " + itoa(exit), err: err}
	}
	name := ""
	switch cmd.(type) {
	case *instructions.CopyCommand:
		name = "COPY"
	case *instructions.AddCommand:
		name = "ADD"
	}
	if m := missing.FindStringSubmatch(err.Error()); m != nil && name != "" {
		return fault.New(fault.Invalid, "%s failed: file not found in build context or excluded by .dockerignore: stat %s: %w", name, m[1], fs.ErrNotExist)
	}
	return err
}

// commandLine is what RUN executes.
func (c *classicBuild) commandLine(cmd any) []string {
	run, ok := cmd.(*instructions.RunCommand)
	if !ok { // a trigger
		return c.trace.lastCommand()
	}
	if !run.PrependShell {
		return run.CmdLine
	}
	shell := c.config.shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(append([]string{}, shell...), strings.Join(run.CmdLine, " "))
}

// stepError is the failure of a step's command, in docker's words.
type stepError struct {
	code int
	text string
	err  error
}

func (e *stepError) Error() string { return e.text }
func (e *stepError) Unwrap() error { return e.err }
