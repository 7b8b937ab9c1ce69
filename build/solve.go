package build

import (
	"context"
	"errors"
	"sync"
	"time"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/grpc/metadata"

	"hoy/lib/cleanup"
	"hoy/lib/fault"
)

// front is what the builds of requests share. Its zero value is ready.
type front struct {
	bodies  bodies
	uploads uploads
	calls   calls
	counts  counts

	mu      sync.Mutex
	running map[string]context.CancelFunc // by Request.ID
}

// start has Cancel know a build.
func (f *front) start(ctx context.Context, id string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	if id == "" {
		return ctx, cancel
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running = map[string]context.CancelFunc{}
	}
	f.running[id] = cancel
	return ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.running, id)
		cancel()
	}
}

// Cancel ends the build of the id; that there is none is no error.
func (b *Builder) Cancel(id string) {
	b.front.mu.Lock()
	defer b.front.mu.Unlock()
	if cancel := b.front.running[id]; cancel != nil {
		cancel()
	}
}

// Build makes what r asks for. It ends with ctx, and by Cancel. Errors of steps keep
// what ExitCode and Explain read.
func (b *Builder) Build(ctx context.Context, r Request) (*Result, error) {
	return b.counted(ctx, &r, func(ctx context.Context, s *control.SolveRequest) (*Result, error) {
		return b.solve(ctx, s, r.Trace)
	})
}

// counted has do carry out a request, in a context that Cancel ends, and counts it.
func (b *Builder) counted(ctx context.Context, r *Request, do func(context.Context, *control.SolveRequest) (*Result, error)) (_ *Result, err error) {
	b.front.counts.start()
	defer func() { b.front.counts.end(err) }()
	ctx, end := b.front.start(ctx, r.ID)
	defer end()
	s, done, err := b.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	defer done()
	return do(ctx, s)
}

// prepare translates a request; done gives up what it has for BuildKit.
func (b *Builder) prepare(ctx context.Context, r *Request) (s *control.SolveRequest, done func(), err error) {
	var undo cleanup.Stack
	defer func() {
		if err != nil {
			undo.Run()
		}
	}()
	s = &control.SolveRequest{
		Ref: identity.NewID(), Frontend: "dockerfile.v0", FrontendAttrs: map[string]string{}, FrontendInputs: map[string]*pb.Definition{},
		Session: r.Session, Cache: &control.CacheOptions{}, Entitlements: r.Allow,
	}
	for _, translate := range []func(*Request, *control.SolveRequest) error{describe, limit, b.reach, store, export} {
		if err := translate(r, s); err != nil {
			return nil, nil, err
		}
	}
	drop, err := b.contexts(ctx, r, s)
	undo.Add(drop)
	if err != nil {
		return nil, nil, err
	}
	if r.Session != "" {
		if len(r.Secrets) > 0 {
			return nil, nil, fault.New(fault.Invalid, "secrets come by the client's session where there is one")
		}
		return s, undo.Run, nil
	}
	id, leave, err := b.attach(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	s.Session = id
	undo.Add(leave)
	return s, undo.Run, nil
}

// solve runs a request and tells its trace until both have ended.
func (b *Builder) solve(ctx context.Context, s *control.SolveRequest, trace func(*control.StatusResponse)) (*Result, error) {
	c, err := b.control(ctx)
	if err != nil {
		return nil, err
	}
	// Not ctx: a cancelled build says how it ended.
	t := &traceStream{ctx: context.WithoutCancel(ctx), seen: make(chan struct{}), tell: trace}
	told := make(chan struct{})
	go func() {
		defer close(told)
		c.Status(&control.StatusRequest{Ref: s.Ref}, t)
	}()
	resp, err := c.Solve(ctx, s)
	if err != nil {
		// What is refused before it becomes a job has no trace, for which Status would
		// wait six seconds.
		select {
		case <-t.seen:
			<-told
		case <-told:
		case <-time.After(traceWait):
			t.mute()
		}
		return nil, without(s, err)
	}
	<-told
	return &Result{ImageID: resp.ExporterResponse[exptypes.ExporterImageDigestKey], Attrs: resp.ExporterResponse}, nil
}

// without says of a build without a session what it lacked one for.
func without(s *control.SolveRequest, err error) error {
	if s.Session == "" && errors.Is(err, session.ErrNoActiveSessions) {
		return fault.New(fault.Invalid, "the build needs secrets, ssh or files of a client, which come by its session only (DOCKER_BUILDKIT=1): %w", err)
	}
	return err
}

// traceWait is how long the first event of a failed build's trace may take.
const traceWait = 250 * time.Millisecond

// traceStream is the server's end of Status without a connection.
type traceStream struct {
	control.Control_StatusServer
	ctx  context.Context
	once sync.Once
	seen chan struct{} // closed at the first event

	mu   sync.Mutex
	tell func(*control.StatusResponse) // nil: nobody listens
}

func (t *traceStream) Context() context.Context             { return t.ctx }
func (t *traceStream) SetHeader(metadata.MD) error          { return nil }
func (t *traceStream) SendHeader(metadata.MD) error         { return nil }
func (t *traceStream) Send(m *control.StatusResponse) error { return t.SendMsg(m) }

func (t *traceStream) SendMsg(m any) error {
	t.once.Do(func() { close(t.seen) })
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tell != nil {
		t.tell(m.(*control.StatusResponse))
	}
	return nil
}

func (t *traceStream) mute() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell = nil
}
