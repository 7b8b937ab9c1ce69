// Package server answers Docker's Engine API over HTTP.
//
// routes.go is the whole surface as one table. A handler takes a request apart,
// asks the backend (backend.go says what it needs) and returns a response
// value; only streams and hijacked connections see the wire themselves.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"hoy/lib/fault"
)

// Options is what a Server is made of.
type Options struct {
	Containers Containers
	Images     Images
	Builds     Builds
	Volumes    Volumes
	Networks   Networks
	Registries Registries
	Migration  Migration
	System     System

	Version      string       // of the engine, for the Server header
	MinAPI       string       // the oldest API version that is answered, "1.44"; empty: 1.40
	Experimental bool         // as clients are told
	Debug        func() bool  // whether /debug is answered now; nil: never
	Log          *slog.Logger // nil: nothing is logged
	Calm         func()       // called when no request has ended for a while; nil: nothing is
}

// Server answers the API on any number of listeners. Serve may be called for
// several at once; Shutdown ends them all:
//
//	s := server.New(server.Options{Containers: containers, …})
//	go s.Serve(unixListener)
//	go s.Serve(tlsListener)
//	…
//	s.Shutdown(ctx)
type Server struct {
	Options
	routes table
	oldest version
	http   http.Server
	// streams ends when the server shuts down: answers that would go on for
	// ever (events, followed logs, waits) end with it, operations are finished.
	streams context.Context
	end     context.CancelFunc
	calm    *time.Timer
}

// calmAfter is how long no request ends before it is called calm.
const calmAfter = 5 * time.Second

// New returns a server that listens nowhere yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o, routes: newTable(routes()), oldest: parseVersion(o.MinAPI)}
	s.streams, s.end = context.WithCancel(context.Background())
	if o.Calm == nil {
		s.Calm = func() {}
	}
	s.calm = time.AfterFunc(calmAfter, s.Calm)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // how BuildKit's own clients call, see isGRPC
	s.http = http.Server{
		Handler:           s,
		Protocols:         &protocols,
		ReadHeaderTimeout: time.Minute, // a client that sends nothing holds no connection for ever
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on l until Shutdown; it returns nil then.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown closes the listeners, ends the streams and waits for the other
// requests, but not longer than ctx. Hijacked connections are no longer the
// server's: attached clients stay with their container.
func (s *Server) Shutdown(ctx context.Context) error {
	s.end()
	s.calm.Stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	refused := refuseBrowser(hr)
	if refused == nil && isGRPC(hr) {
		s.Builds.ServeHTTP(w, hr)
		return
	}
	h := w.Header()
	h.Set("Api-Version", maxVersion.String())
	h.Set("Docker-Experimental", formatBool(s.Experimental))
	h.Set("Ostype", "linux")
	h.Set("Server", "hoy/"+s.Version+" (linux)")
	r := &request{Request: hr, server: s, w: w}
	defer s.calm.Reset(calmAfter)
	defer s.recover(r)
	if refused != nil {
		r.answer(failure{refused})
		return
	}
	r.answer(s.respond(r))
}

// respond finds the handler of r and lets it answer.
func (s *Server) respond(r *request) response {
	path, err := r.cutVersion(r.URL.Path)
	if err != nil {
		return failure{err}
	}
	route, vars := s.routes.find(r.Method, path)
	if route == nil || r.version < route.since {
		return failure{fault.New(fault.NotFound, "page not found")}
	}
	r.vars = vars
	return route.handle(r)
}

// recover keeps one request's bug from ending the engine.
func (s *Server) recover(r *request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v) // net/http's own way of closing a connection
	}
	s.Log.Error("panic while answering", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	if r.started {
		panic(http.ErrAbortHandler) // the answer has begun: only the connection's end says that it is wrong
	}
	r.answer(failure{fault.New(fault.Internal, "internal error: %v", v)})
}

func formatBool(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
