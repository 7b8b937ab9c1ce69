package build

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	cacheutil "github.com/moby/buildkit/cache/util"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/archiveutil"
	bkworker "github.com/moby/buildkit/worker"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"hoy/lib/fault"
)

// maxDockerfile bounds what is read of a Dockerfile and of .dockerignore, in bytes.
const maxDockerfile = 4 << 20

// archiveHead is how many bytes tell an archive from a Dockerfile.
const archiveHead = 1024

// classicSource is the Dockerfile and the files that it copies.
type classicSource struct {
	name    string
	text    []byte
	ast     *parser.Result
	context llb.State
}

// readSource finds the Dockerfile in the context, which is fetched then.
func readSource(ctx context.Context, k *call, name string) (*classicSource, error) {
	if name == "" || name == "." {
		name = "Dockerfile"
	}
	s := &classicSource{name: name}
	at := k.attrs["context"]
	if git, ok, err := dockerui.DetectGitContext(at, nil); ok {
		if err != nil {
			return nil, fault.As(fault.Invalid, err)
		}
		s.context = *git
		return s, s.find(ctx, k)
	}
	download := llb.HTTP(at, llb.Filename("context"), llb.WithCustomName("load context"))
	head, err := k.read(ctx, download, cacheutil.ReadRequest{Filename: "context", Range: &cacheutil.FileRange{Length: archiveHead}})
	if err != nil {
		return nil, downloadError(at, err)
	}
	if !archiveutil.IsArchive(head) {
		s.context = llb.Scratch()
		s.text, err = k.read(ctx, download, cacheutil.ReadRequest{Filename: "context"})
		return s, err
	}
	s.context = llb.Scratch().File(llb.Copy(download, "/context", "/", &llb.CopyInfo{AttemptUnpack: true}), llb.WithCustomName("unpack context"))
	return s, s.find(ctx, k)
}

// badStatus is the end of what BuildKit says of an HTTP server that does not give a file,
// but for the number.
const badStatus = "invalid response status "

// downloadError says of a context that its server does not give what docker says, and has
// its kind: that is the status which the client gets.
func downloadError(at string, err error) error {
	_, text, found := strings.Cut(err.Error(), badStatus)
	status, notNumber := strconv.Atoi(text)
	if !found || notNumber != nil {
		return err
	}
	if u, err := url.Parse(at); err == nil {
		at = u.Redacted()
	}
	return fault.New(fault.OfPeer(status, fault.Internal), "error downloading remote context %s: failed to GET %[1]s with status %d %s", at, status, http.StatusText(status))
}

// find reads the Dockerfile, and takes what .dockerignore leaves out of the context: the
// client has left out the rest, but sends these two files in any case.
func (s *classicSource) find(ctx context.Context, k *call) (err error) {
	if s.text, err = k.read(ctx, s.context, cacheutil.ReadRequest{Filename: s.name}); errors.Is(err, fs.ErrNotExist) && s.name == "Dockerfile" {
		s.name = "dockerfile"
		s.text, err = k.read(ctx, s.context, cacheutil.ReadRequest{Filename: s.name})
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Invalid, "Cannot locate specified Dockerfile: %s", s.name)
	case err != nil:
		return err
	}
	ignored, err := k.read(ctx, s.context, cacheutil.ReadRequest{Filename: ".dockerignore"})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var patterns []string
	if err == nil {
		patterns, err = ignorefile.ReadAll(bytes.NewReader(ignored))
	}
	if err != nil {
		return fault.New(fault.Invalid, "error reading .dockerignore: %w", err)
	}
	for _, f := range []string{".dockerignore", s.name} {
		if out, _ := patternmatcher.MatchesOrParentMatches(f, patterns); out {
			s.context = s.context.File(llb.Rm(path.Join("/", f), llb.WithAllowNotFound(true)), llb.WithCustomName("leave out "+f))
		}
	}
	return nil
}

// parse reads the Dockerfile up to the target.
func (s *classicSource) parse(target string) ([]instructions.Stage, []instructions.ArgCommand, error) {
	if len(s.text) == 0 {
		return nil, nil, fault.New(fault.Invalid, "the Dockerfile (%s) cannot be empty", s.name)
	}
	var err error
	if s.ast, err = parser.Parse(bytes.NewReader(s.text)); err != nil {
		return nil, nil, fault.New(fault.Invalid, "failed to parse %s: %w", s.name, err)
	}
	stages, meta, err := instructions.Parse(s.ast.AST, nil)
	if err != nil {
		return nil, nil, fault.As(fault.Invalid, err)
	}
	if target != "" {
		i, ok := instructions.HasStage(stages, target)
		if !ok {
			return nil, nil, fault.New(fault.Invalid, "target stage %q could not be found", target)
		}
		stages = stages[:i+1]
	}
	return stages, meta, nil
}

// until gives the Dockerfile up to a line, more behind it, and the context, as inputs of
// the front end.
func (s *classicSource) until(ctx context.Context, line int, more string) (map[string]*pb.Definition, error) {
	lines := strings.SplitAfter(string(s.text), "\n")
	text := strings.TrimRight(strings.Join(lines[:min(line, len(lines))], ""), "\n") + "\n" + more
	inputs := map[string]*pb.Definition{}
	for name, st := range map[string]llb.State{
		dockerui.DefaultLocalNameContext:    s.context,
		dockerui.DefaultLocalNameDockerfile: llb.Scratch().File(llb.Mkfile("/Dockerfile", 0o600, []byte(text)), llb.WithCustomName("load definition")),
	} {
		def, err := st.Marshal(ctx)
		if err != nil {
			return nil, err
		}
		inputs[name] = def.ToPB()
	}
	return inputs, nil
}

// read solves a state and reads a file of it.
func (k *call) read(ctx context.Context, st llb.State, what cacheutil.ReadRequest) ([]byte, error) {
	def, err := st.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	res, err := k.FrontendLLBBridge.Solve(ctx, frontend.SolveRequest{Definition: def.ToPB()}, k.session)
	if err != nil {
		return nil, err
	}
	defer res.EachRef(func(ref solver.ResultProxy) error { return ref.Release(context.WithoutCancel(ctx)) })
	w, err := workerRef(ctx, res.Ref)
	if err != nil {
		return nil, err
	}
	if w == nil { // nothing at all
		return nil, fs.ErrNotExist
	}
	mounts, err := w.ImmutableRef.Mount(ctx, true, session.NewGroup(k.session))
	if err != nil {
		return nil, err
	}
	local := snapshot.LocalMounter(mounts)
	root, err := local.Mount()
	if err != nil {
		return nil, err
	}
	defer local.Unmount()
	return cacheutil.ReadFile(ctx, root, what, maxDockerfile)
}

// workerRef waits for a result; nil: it has no files.
func workerRef(ctx context.Context, ref solver.ResultProxy) (*bkworker.WorkerRef, error) {
	if ref == nil {
		return nil, nil
	}
	res, err := ref.Result(ctx)
	if err != nil || res == nil {
		return nil, err
	}
	w, ok := res.Sys().(*bkworker.WorkerRef)
	if !ok {
		return nil, fault.New(fault.Internal, "a result of BuildKit is a %T", res.Sys())
	}
	if w.ImmutableRef == nil {
		return nil, nil
	}
	return w, nil
}
