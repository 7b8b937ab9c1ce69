package build

import (
	"context"
	"sync"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/pb"

	"hoy/lib/fault"
)

// callsFrontend is the name of the front end that is a function of this process.
const callsFrontend = "hoy.v0"

// callsKey is the attribute that says which function.
const callsKey = "hoy.call"

// call is what a function gets: BuildKit within one job, so that what it has solved
// stays there, and the attributes and inputs of the request.
type call struct {
	frontend.FrontendLLBBridge
	attrs   map[string]string
	inputs  map[string]*pb.Definition
	session string
	sm      *session.Manager
}

// calls is a front end of functions, each of which is one build's.
type calls struct {
	mu    sync.Mutex
	known map[string]func(context.Context, *call) (*frontend.Result, error)
}

// add returns the attribute's value that leads to f, until drop is called.
func (c *calls) add(f func(context.Context, *call) (*frontend.Result, error)) (id string, drop func()) {
	id = identity.NewID()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]func(context.Context, *call) (*frontend.Result, error){}
	}
	c.known[id] = f
	return id, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.known, id)
	}
}

// Solve is a frontend.Frontend's.
func (c *calls) Solve(ctx context.Context, b frontend.FrontendLLBBridge, _ executor.Executor, attrs map[string]string, inputs map[string]*pb.Definition, sid string, sm *session.Manager) (*frontend.Result, error) {
	c.mu.Lock()
	f := c.known[attrs[callsKey]]
	c.mu.Unlock()
	if f == nil {
		return nil, fault.New(fault.Invalid, "the front end %s is for the engine's own use", callsFrontend)
	}
	delete(attrs, callsKey)
	return f(ctx, &call{FrontendLLBBridge: b, attrs: attrs, inputs: inputs, session: sid, sm: sm})
}
